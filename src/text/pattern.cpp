#include "text/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "text/oniguruma.h"
#include "text/unicode.h"

namespace graft::text {

struct CompiledRegex {
  pcre2_code* code = nullptr;
  std::string expression;
  ~CompiledRegex() { pcre2_code_free(code); }
};

namespace {

constexpr const char* kGpt2Expression =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

struct MatchData {
  pcre2_match_data* data = pcre2_match_data_create(1, nullptr);
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  pcre2_jit_stack* stack = pcre2_jit_stack_create(64 * 1024, 16 * 1024 * 1024, nullptr);
  MatchData() { pcre2_jit_stack_assign(context, nullptr, stack); }
  ~MatchData() {
    pcre2_match_data_free(data);
    pcre2_match_context_free(context);
    pcre2_jit_stack_free(stack);
  }
};

void find_regex(const CompiledRegex& regex, std::string_view text, size_t begin, size_t end,
                std::vector<Match>& out) {
  thread_local MatchData match;
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data() + begin);
  const size_t size = end - begin;
  size_t pos = 0, gap = 0, last_end = std::string_view::npos;
  while (pos <= size) {
    const int rc = pcre2_match(regex.code, subject, size, pos, PCRE2_NO_UTF_CHECK, match.data, match.context);
    if (rc == PCRE2_ERROR_NOMATCH) break;
    if (rc < 0) {
      PCRE2_UCHAR message[256];
      pcre2_get_error_message(rc, message, sizeof message);
      fail("the pattern {:?} fails on a text of {} bytes: {}", regex.expression, size,
           reinterpret_cast<const char*>(message));
    }
    const PCRE2_SIZE* range = pcre2_get_ovector_pointer(match.data);
    // An empty match right after another match is no match, as in the reference.
    if (range[1] == range[0] && range[0] == last_end) {
      if (last_end >= size) break;
      pos = last_end + sequence_length(text[begin + last_end]);
      continue;
    }
    if (range[0] > gap) out.push_back({begin + gap, begin + range[0], false});
    out.push_back({begin + range[0], begin + range[1], true});
    gap = pos = last_end = range[1];
  }
  if (gap < size) out.push_back({begin + gap, end, false});
}

void drop_empty(std::vector<Match>& matches, size_t first) {
  const auto is_empty = [](const Match& m) { return m.begin == m.end; };
  matches.erase(std::remove_if(matches.begin() + static_cast<std::ptrdiff_t>(first), matches.end(), is_empty),
                matches.end());
}

void find_string(std::string_view needle, std::string_view text, size_t begin, size_t end,
                 std::vector<Match>& out) {
  size_t gap = begin;
  const std::string_view head = text.substr(0, end);
  while (!needle.empty()) {
    const size_t at = head.find(needle, gap);
    if (at == std::string_view::npos) break;
    if (at > gap) out.push_back({gap, at, false});
    gap = at + needle.size();
    out.push_back({at, gap, true});
  }
  if (gap < end) out.push_back({gap, end, false});
}

void find_characters(bool (*predicate)(char32_t), std::string_view text, size_t begin, size_t end,
                     std::vector<Match>& out) {
  size_t gap = begin;
  for (size_t pos = begin; pos < end;) {
    const size_t at = pos;
    if (!predicate(next_char(text, pos))) continue;
    if (at > gap) out.push_back({gap, at, false});
    out.push_back({at, pos, true});
    gap = pos;
  }
  if (gap < end) out.push_back({gap, end, false});
}

// Length of a contraction ('s 't 're 've 'm 'll 'd) at text[pos], 0 when there is none.
size_t contraction(std::string_view text, size_t pos, size_t end) {
  if (end - pos < 2) return 0;
  const char a = text[pos + 1];
  if (a == 's' || a == 't' || a == 'm' || a == 'd') return 2;
  if (end - pos < 3) return 0;
  const char b = text[pos + 2];
  return (a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l') ? 3 : 0;
}

constexpr uint16_t kPieceKinds = kLetter | kNumber | kWhitespace;

}  // namespace

size_t gpt2_word_end(std::string_view text, size_t pos, size_t end) {
  if (text[pos] == '\'') {
    if (const size_t n = contraction(text, pos, end)) return pos + n;
  }
  size_t p = pos;
  char32_t c = next_char(text, p);
  uint16_t kind = char_flags(c) & kPieceKinds;
  if (c == ' ' && p < end) {
    size_t q = p;
    const uint16_t next = char_flags(next_char(text, q)) & kPieceKinds;
    if (!(next & kWhitespace)) {
      kind = next;
      p = q;
    }
  }
  size_t last = pos;  // start of the last character of the run
  while (p < end) {
    size_t q = p;
    const uint16_t next = char_flags(next_char(text, q)) & kPieceKinds;
    if (next != kind) break;
    last = p;
    p = q;
  }
  // The last of several spaces belongs to the following word.
  if ((kind & kWhitespace) && p < end && last > pos) return last;
  return p;
}

Behavior parse_behavior(const std::string& name, const std::string& where) {
  if (name == "Removed") return Behavior::removed;
  if (name == "Isolated") return Behavior::isolated;
  if (name == "MergedWithPrevious") return Behavior::merged_with_previous;
  if (name == "MergedWithNext") return Behavior::merged_with_next;
  if (name == "Contiguous") return Behavior::contiguous;
  fail_with("one of Removed, Isolated, MergedWithPrevious, MergedWithNext, Contiguous",
            "{}: unknown behavior {:?}", where, name);
}

Pattern Pattern::string(std::string needle) {
  Pattern p;
  p.needle_ = std::move(needle);
  return p;
}

Pattern Pattern::regex(const std::string& expression, const std::string& where) {
  Pattern p;
  if (expression == kGpt2Expression) return gpt2();
  p.kind_ = Kind::regex;
  auto regex = std::make_shared<CompiledRegex>();
  regex->expression = expression;
  const std::string translated = to_pcre2(expression);
  int code = 0;
  PCRE2_SIZE at = 0;
  regex->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                              PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE, &code, &at, nullptr);
  if (!regex->code) {
    PCRE2_UCHAR message[256];
    pcre2_get_error_message(code, message, sizeof message);
    fail("{}: the regular expression {:?} does not compile: {} at character {}", where, expression,
         reinterpret_cast<const char*>(message), at);
  }
  // without JIT the interpreter gives the same result, slower
  pcre2_jit_compile(regex->code, PCRE2_JIT_COMPLETE);
  p.regex_ = std::move(regex);
  return p;
}

Pattern Pattern::character(bool (*predicate)(char32_t)) {
  Pattern p;
  p.kind_ = Kind::character;
  p.predicate_ = predicate;
  return p;
}

Pattern Pattern::gpt2() {
  Pattern p;
  p.kind_ = Kind::gpt2;
  return p;
}

Pattern Pattern::from_json(const Json& json, const std::string& where) {
  const Json& text = json.is_object() && json.contains("String") ? json["String"] : json;
  // The empty string is the empty expression, which matches between any two characters.
  if (text.is_string())
    return text.get<std::string>().empty() ? regex("", where) : string(text.get<std::string>());
  if (json.is_object() && json.contains("Regex")) return regex(json["Regex"].get<std::string>(), where);
  fail("{}: a pattern is {{\"String\": ...}} or {{\"Regex\": ...}}, not {}", where, json.dump());
}

void Pattern::find(std::string_view text, size_t begin, size_t end, std::vector<Match>& out) const {
  const size_t first = out.size();
  switch (kind_) {
    case Kind::string:
      find_string(needle_, text, begin, end, out);
      break;
    case Kind::regex:
      find_regex(*regex_, text, begin, end, out);
      break;
    case Kind::character:
      find_characters(predicate_, text, begin, end, out);
      break;
    case Kind::gpt2:
      for (size_t pos = begin; pos < end;) {
        const size_t stop = gpt2_word_end(text, pos, end);
        out.push_back({pos, stop, true});
        pos = stop;
      }
  }
  if (invert_)
    for (size_t i = first; i < out.size(); ++i) out[i].is_match = !out[i].is_match;
}

void Pattern::split(std::string_view text, size_t begin, size_t end, Behavior behavior,
                    std::vector<Match>& out) const {
  const size_t first = out.size();
  find(text, begin, end, out);
  if (behavior == Behavior::removed) return drop_empty(out, first);
  const size_t count = out.size();
  size_t write = first;
  // a match is merged with the next range, unless that is a match too
  if (behavior == Behavior::merged_with_next) {
    for (size_t i = first; i < count; ++i) {
      Match m = out[i];
      if (m.is_match && i + 1 < count && !out[i + 1].is_match) m.end = out[++i].end;
      out[write++] = {m.begin, m.end, false};
    }
    out.resize(write);
    return drop_empty(out, first);
  }
  bool previous = false;
  for (size_t i = first; i < count; ++i) {
    const Match m = out[i];
    const bool merge = behavior == Behavior::contiguous             ? m.is_match == previous
                       : behavior == Behavior::merged_with_previous ? m.is_match && !previous
                                                                    : false;
    if (merge && write > first)
      out[write - 1].end = m.end;
    else
      out[write++] = {m.begin, m.end, false};
    previous = m.is_match;
  }
  out.resize(write);
  drop_empty(out, first);
}

}  // namespace graft::text
