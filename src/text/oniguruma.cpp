#include "text/oniguruma.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <string_view>
#include <utility>
#include <vector>

namespace graft::text {
namespace {

// Oniguruma's word characters. Outside a class it also takes these of Latin-1, from a table of its own.
constexpr const char* kWord = R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc})";
constexpr const char* kLatinWord = R"(\xB2\xB3\xB9\xBC-\xBE)";

std::string word_class(bool negated) { return std::string(negated ? "[^" : "[") + kWord + kLatinWord + "]"; }

// (?<=W)(?!W) and the reverse, or both of one kind.
std::string word_bound(bool negated) {
  const std::string w = word_class(false);
  const std::string behind = "(?<=" + w + ")", ahead = "(?=" + w + ")";
  const std::string not_behind = "(?<!" + w + ")", not_ahead = "(?!" + w + ")";
  return negated ? "(?:" + behind + ahead + "|" + not_behind + not_ahead + ")"
                 : "(?:" + behind + not_ahead + "|" + not_behind + ahead + ")";
}

// Content of a class for the names of POSIX brackets and \p{...} that differ; "" for all others.
std::string named_class(std::string_view name, bool posix) {
  if (name == "alpha" || name == "Alpha") return R"(\p{Alphabetic})";
  if (name == "alnum" || name == "Alnum") return R"(\p{Alphabetic}\p{Nd})";
  if (name == "word" || name == "Word") return kWord;
  if (name == "punct") return R"(\p{P}\p{S})";
  if (name == "Punct") return R"(\p{P})";
  if (posix && name == "upper") return R"(\p{Uppercase})";
  if (posix && name == "lower") return R"(\p{Lowercase})";
  return "";
}

bool compiles(const std::string& expression) {
  int error = 0;
  PCRE2_SIZE at = 0;
  pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(expression.data()), expression.size(),
                                   PCRE2_UTF | PCRE2_UCP, &error, &at, nullptr);
  pcre2_code_free(code);
  return code != nullptr;
}

class Translator {
 public:
  explicit Translator(std::string_view text) : text_(text) {}

  std::string run() {
    std::string out;
    while (at_ < text_.size()) {
      if (text_[at_] == '\\') {
        out += escape();
      } else if (text_[at_] == '[') {
        out += bracket();
      } else if (text_.substr(at_, 2) == "(?") {
        out += group();
      } else {
        out += text_[at_++];
      }
    }
    return out;
  }

 private:
  // Characters that a class matches: the content of a class, and expressions of one character.
  struct Set {
    std::string items;
    std::vector<std::string> others;

    std::string expression() const {
      std::string out = items.empty() ? "" : "[" + items + "]";
      for (const std::string& other : others) out += (out.empty() ? "" : "|") + other;
      return out.empty() ? "(?!)" : others.empty() ? out : "(?:" + out + ")";
    }
  };

  // The braces of \p{NAME} at the current position; "" if there are none.
  std::string_view braces() const {
    const size_t end = text_.find('}', at_);
    return at_ < text_.size() && text_[at_] == '{' && end != text_.npos ? text_.substr(at_ + 1, end - at_ - 1)
                                                                        : "";
  }

  // \p{NAME} or \P{NAME}, from behind the p. `content` is the content of a class if there is one.
  std::string property(char letter, std::string& content) {
    std::string_view name = braces();
    if (name.empty()) return std::string("\\") + letter;
    at_ += name.size() + 2;
    bool negated = letter == 'P';
    if (name.starts_with('^')) {
      negated = !negated;
      name.remove_prefix(1);
    }
    content = negated ? "" : named_class(name, false);
    if (!content.empty()) return "[" + content + "]";
    if (const std::string all = named_class(name, false); !all.empty()) return "[^" + all + "]";
    // A bare name of a script is its script extensions in PCRE2.
    const std::string script = "{sc:" + std::string(name) + "}";
    const std::string inside = compiles("\\p" + script) ? script : "{" + std::string(name) + "}";
    content = (negated ? "\\P" : "\\p") + inside;
    return content;
  }

  std::string escape() {
    const char letter = at_ + 1 < text_.size() ? text_[at_ + 1] : '\0';
    at_ += letter ? 2 : 1;
    std::string content;
    switch (letter) {
      case '\0':
        return "\\";
      case 'h':
        return "[0-9a-fA-F]";
      case 'H':
        return "[^0-9a-fA-F]";
      case 'w':
      case 'W':
        return word_class(letter == 'W');
      case 'b':
      case 'B':
        return word_bound(letter == 'B');
      case 'u':
        return code_point();
      case 'p':
      case 'P':
        if (braces() == "Word" || braces() == "^Word") {
          const bool negated = (letter == 'P') != (braces() == "^Word");
          at_ += braces().size() + 2;
          return word_class(negated);
        }
        return property(letter, content);
      default:
        return {'\\', letter};
    }
  }

  // HHHH of \uHHHH.
  std::string code_point() {
    const std::string digits(text_.substr(at_, 4));
    if (digits.size() < 4 || digits.find_first_not_of("0123456789abcdefABCDEF") != digits.npos) return "\\u";
    at_ += 4;
    return "\\x{" + digits + "}";
  }

  // (?imx-imx: of a group; m is PCRE2's s.
  std::string group() {
    std::string out = "(?";
    at_ += 2;
    size_t end = at_;
    while (end < text_.size() && std::string_view("imx-").find(text_[end]) != std::string_view::npos) ++end;
    if (end == at_ || end >= text_.size() || (text_[end] != ':' && text_[end] != ')')) return out;
    for (; at_ < end; ++at_) out += text_[at_] == 'm' ? 's' : text_[at_];
    return out;
  }

  // A class. One that does not end does not end in the result either.
  std::string bracket() {
    const size_t begin = at_;
    std::string out;
    if (set(out)) return out;
    at_ = text_.size();
    return std::string(text_.substr(begin)) + "[";
  }

  // Reads [...] at the current position as an expression of one character. False if it does not end.
  bool set(std::string& out) {
    ++at_;
    const bool negated = at_ < text_.size() && text_[at_] == '^';
    at_ += negated;
    std::vector<Set> parts(1);
    for (bool first = true; at_ < text_.size(); first = false) {
      if (text_[at_] == ']' && !first) {
        ++at_;
        out = expression(parts, negated);
        return true;
      }
      if (text_.substr(at_, 2) == "&&") {
        at_ += 2;
        parts.emplace_back();
      } else if (!element(parts.back())) {
        return false;
      }
    }
    return false;
  }

  static std::string expression(const std::vector<Set>& parts, bool negated) {
    if (parts.size() == 1 && parts[0].others.empty())
      return std::string(negated ? "[^" : "[") + parts[0].items + "]";
    std::string all;
    for (size_t i = 1; i < parts.size(); ++i) all += "(?=" + parts[i].expression() + ")";
    all = "(?:" + all + parts[0].expression() + ")";
    return negated ? "(?:(?!" + all + ")(?s:.))" : all;
  }

  // One element of a class: a nested class, a POSIX bracket, an escape or a character.
  bool element(Set& out) {
    if (text_[at_] == '[') {
      if (posix_bracket(out)) return true;
      std::string nested;
      if (!set(nested)) return false;
      out.others.push_back(nested);
    } else if (text_[at_] == '\\' && at_ + 1 < text_.size()) {
      class_escape(out);
    } else {
      out.items += text_[at_++];
    }
    return true;
  }

  // [:NAME:] or [:^NAME:].
  bool posix_bracket(Set& out) {
    const size_t end = text_.find(":]", at_);
    if (text_.substr(at_, 2) != "[:" || end == text_.npos) return false;
    std::string_view name = text_.substr(at_ + 2, end - at_ - 2);
    const std::string whole(text_.substr(at_, end + 2 - at_));
    at_ = end + 2;
    const bool negated = name.starts_with('^');
    if (negated) name.remove_prefix(1);
    const std::string content = named_class(name, true);
    if (content.empty())
      out.items += whole;
    else if (negated)
      out.others.push_back("[^" + content + "]");
    else
      out.items += content;
    return true;
  }

  void class_escape(Set& out) {
    const char letter = text_[at_ + 1];
    at_ += 2;
    std::string content;
    if (letter == 'w') {
      out.items += kWord;
    } else if (letter == 'W') {
      out.others.push_back(std::string("[^") + kWord + "]");
    } else if (letter == 'h') {
      out.items += "0-9a-fA-F";
    } else if (letter == 'u') {
      out.items += code_point();
    } else if (letter == 'p' || letter == 'P') {
      const std::string whole = property(letter, content);
      if (content.empty() && whole.starts_with('['))
        out.others.push_back(whole);
      else
        out.items += content.empty() ? whole : content;
    } else {
      out.items += {'\\', letter};
    }
  }

  std::string_view text_;
  size_t at_ = 0;
};

}  // namespace

std::string to_pcre2(const std::string& expression) { return Translator(expression).run(); }

}  // namespace graft::text
