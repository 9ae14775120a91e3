#include "text/pre_tokenizer.h"

#include <functional>
#include <utility>

#include "base/utf8.h"
#include "text/json_fields.h"
#include "text/pattern.h"
#include "text/unicode.h"

namespace graft::text {
namespace {

class Rule : public PreTokenizer {
 public:
  explicit Rule(std::function<void(PreTokenized&)> rule) : rule_(std::move(rule)) {}
  void pre_tokenize(PreTokenized& text) const override { rule_(text); }

 private:
  std::function<void(PreTokenized&)> rule_;
};

std::unique_ptr<PreTokenizer> rule(std::function<void(PreTokenized&)> f) {
  return std::make_unique<Rule>(std::move(f));
}

void split_words(PreTokenized& t, const Pattern& pattern, Behavior behavior) {
  std::vector<Span> words;
  std::vector<Match> matches;
  words.reserve(t.words.size());
  for (const Span& word : t.words) {
    matches.clear();
    pattern.split(t.text.text, word.begin, word.end, behavior, matches);
    for (const Match& m : matches)
      if (!m.is_match) words.push_back({static_cast<int32_t>(m.begin), static_cast<int32_t>(m.end)});
  }
  t.words = std::move(words);
}

std::unique_ptr<PreTokenizer> splitter(Pattern pattern, Behavior behavior) {
  return rule(
      [pattern = std::move(pattern), behavior](PreTokenized& t) { split_words(t, pattern, behavior); });
}

// Rewrites the text word by word: `append(out, word)` adds the new form of one word to `out`.
template <class Append>
void rewrite_words(PreTokenized& t, Append append) {
  AlignedText out;
  out.text.reserve(t.text.text.size() * 5 / 4);
  out.align.reserve(t.text.text.size() * 5 / 4);
  for (Span& word : t.words) {
    const auto begin = static_cast<int32_t>(out.text.size());
    append(out, word);
    word = {begin, static_cast<int32_t>(out.text.size())};
  }
  t.text = std::move(out);
}

void append_bytes(AlignedText& out, const AlignedText& in, size_t begin, size_t end) {
  out.text.append(in.text, begin, end - begin);
  out.align.insert(out.align.end(), in.align.begin() + begin, in.align.begin() + end);
}

void byte_level(PreTokenized& t, bool add_prefix_space, bool use_regex) {
  if (add_prefix_space) {
    rewrite_words(t, [&](AlignedText& out, const Span& word) {
      if (t.text.text[word.begin] != ' ') {
        out.text += ' ';
        out.align.push_back(t.text.align[word.begin]);
      }
      append_bytes(out, t.text, word.begin, word.end);
    });
  }
  if (use_regex) split_words(t, Pattern::gpt2(), Behavior::isolated);
  rewrite_words(t, [&](AlignedText& out, const Span& word) {
    for (int32_t i = word.begin; i < word.end; ++i) {
      utf8::append(out.text, byte_to_char(static_cast<uint8_t>(t.text.text[i])));
      out.align.resize(out.text.size(), t.text.align[i]);
    }
  });
}

void metaspace(PreTokenized& t, const std::string& replacement, PrependScheme scheme, bool split) {
  rewrite_words(t, [&](AlignedText& out, const Span& word) {
    const std::string_view text = std::string_view(t.text.text).substr(word.begin, word.end - word.begin);
    const bool marked = text[0] == ' ' || text.substr(0, replacement.size()) == replacement;
    const bool wanted = scheme == PrependScheme::always ||
                        (scheme == PrependScheme::first && t.text.align[word.begin].begin == 0);
    if (wanted && !marked) {
      out.text += replacement;
      out.align.resize(out.text.size(), t.text.align[word.begin]);
    }
    size_t done = word.begin;
    for (int32_t i = word.begin; i < word.end; ++i) {
      if (t.text.text[i] != ' ') continue;
      append_bytes(out, t.text, done, i);
      out.text += replacement;
      out.align.resize(out.text.size(), t.text.align[i]);
      done = i + 1;
    }
    append_bytes(out, t.text, done, word.end);
  });
  if (split) split_words(t, Pattern::string(replacement), Behavior::merged_with_next);
}

void fixed_length(PreTokenized& t, size_t length) {
  std::vector<Span> words;
  for (const Span& word : t.words) {
    for (size_t pos = word.begin; pos < static_cast<size_t>(word.end);) {
      const size_t begin = pos;
      for (size_t i = 0; i < length && pos < static_cast<size_t>(word.end); ++i) next_char(t.text.text, pos);
      words.push_back({static_cast<int32_t>(begin), static_cast<int32_t>(pos)});
    }
  }
  t.words = std::move(words);
}

using Make = std::unique_ptr<PreTokenizer> (*)(const Json&, const std::string&);

std::unique_ptr<PreTokenizer> make_sequence(const Json& json, const std::string& where) {
  auto parts = std::make_shared<std::vector<std::unique_ptr<PreTokenizer>>>();
  for (const Json& part : array_field(json, "pretokenizers", where))
    parts->push_back(make_pre_tokenizer(part, where));
  return rule([parts](PreTokenized& t) {
    for (const auto& part : *parts)
      if (part) part->pre_tokenize(t);
  });
}

std::unique_ptr<PreTokenizer> make_split(const Json& json, const std::string& where) {
  Pattern pattern = Pattern::from_json(field(json, "pattern", where), where);
  pattern.set_invert(json.value("invert", false));
  return splitter(std::move(pattern), parse_behavior(string_field(json, "behavior", where), where));
}

std::unique_ptr<PreTokenizer> make_char_delimiter(const Json& json, const std::string& where) {
  const std::string delimiter = string_field(json, "delimiter", where);
  if (utf8::length(delimiter) != 1)
    fail("{}: \"delimiter\" must be one character, not {:?}", where, delimiter);
  return splitter(Pattern::string(delimiter), Behavior::removed);
}

std::unique_ptr<PreTokenizer> make_metaspace(const Json& json, const std::string& where) {
  const std::string replacement = string_field(json, "replacement", where);
  if (utf8::length(replacement) != 1)
    fail("{}: \"replacement\" must be one character, not {:?}", where, replacement);
  const PrependScheme scheme = parse_prepend_scheme(json, where);
  const bool split = json.value("split", true);
  return rule([=](PreTokenized& t) { metaspace(t, replacement, scheme, split); });
}

std::unique_ptr<PreTokenizer> make_fixed_length(const Json& json, const std::string& where) {
  const int64_t length = json.value("length", int64_t{5});
  if (length < 1) fail("{}: \"length\" must be at least 1, not {}", where, length);
  return rule([length](PreTokenized& t) { fixed_length(t, static_cast<size_t>(length)); });
}

bool is_word_char(char32_t c) { return char_flags(c) & kWord; }
bool is_symbol_char(char32_t c) { return !(char_flags(c) & (kWord | kWhitespace)); }

// \w+|[^\w\s]+ : runs of word characters, and runs of other characters except white space.
std::unique_ptr<PreTokenizer> make_whitespace(const Json&, const std::string&) {
  return rule([](PreTokenized& t) {
    std::vector<Span> words;
    for (const Span& word : t.words) {
      for (size_t pos = word.begin; pos < static_cast<size_t>(word.end);) {
        const size_t begin = pos;
        const char32_t c = next_char(t.text.text, pos);
        const auto same = is_word_char(c) ? is_word_char : is_symbol_char;
        if (!same(c)) continue;
        for (size_t next = pos; pos < static_cast<size_t>(word.end); pos = next)
          if (!same(next_char(t.text.text, next))) break;
        words.push_back({static_cast<int32_t>(begin), static_cast<int32_t>(pos)});
      }
    }
    t.words = std::move(words);
  });
}

std::unique_ptr<PreTokenizer> make_scripts(const Json&, const std::string&) {
  return rule([](PreTokenized& t) {
    std::vector<Span> words;
    for (const Span& word : t.words) split_scripts(t.text.text, word.begin, word.end, words);
    t.words = std::move(words);
  });
}

const std::vector<std::pair<std::string, Make>>& registry() {
  static const std::vector<std::pair<std::string, Make>> table = {
      {"BertPreTokenizer",
       [](const Json&, const std::string&) {
         return rule([](PreTokenized& t) {
           split_words(t, Pattern::character(is_whitespace), Behavior::removed);
           split_words(t, Pattern::character(is_punctuation), Behavior::isolated);
         });
       }},
      {"ByteLevel",
       [](const Json& json, const std::string&) {
         const bool prefix = json.value("add_prefix_space", true), use_regex = json.value("use_regex", true);
         return rule([prefix, use_regex](PreTokenized& t) { byte_level(t, prefix, use_regex); });
       }},
      {"Whitespace", make_whitespace},
      {"WhitespaceSplit",
       [](const Json&, const std::string&) {
         return splitter(Pattern::character(is_whitespace), Behavior::removed);
       }},
      {"CharDelimiterSplit", make_char_delimiter},
      {"Metaspace", make_metaspace},
      {"Split", make_split},
      {"Punctuation",
       [](const Json& json, const std::string& where) {
         return splitter(Pattern::character(is_punctuation),
                         parse_behavior(json.value("behavior", "Isolated"), where));
       }},
      {"Digits",
       [](const Json& json, const std::string&) {
         return splitter(Pattern::character(is_numeric),
                         json.value("individual_digits", false) ? Behavior::isolated : Behavior::contiguous);
       }},
      {"UnicodeScripts", make_scripts},
      {"FixedLength", make_fixed_length},
      {"Sequence", make_sequence},
  };
  return table;
}

}  // namespace

PrependScheme parse_prepend_scheme(const Json& json, const std::string& where) {
  const auto it = json.find("prepend_scheme");
  if (it == json.end() || it->is_null())
    return json.value("add_prefix_space", true) ? PrependScheme::always : PrependScheme::never;
  const auto name = it->get<std::string>();
  if (name == "always") return PrependScheme::always;
  if (name == "first") return PrependScheme::first;
  if (name == "never") return PrependScheme::never;
  fail_with("one of always, first, never", "{}: unknown prepend_scheme {:?}", where, name);
}

std::unique_ptr<PreTokenizer> make_pre_tokenizer(const Json& json, const std::string& where) {
  if (json.is_null()) return nullptr;
  return make_component(registry(), json, json.contains("pretokenizers") ? "Sequence" : "", "pre_tokenizer",
                        where);
}

}  // namespace graft::text
