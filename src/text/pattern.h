// A pattern (a string, a regular expression or a class of characters) and what a split does with its matches.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "text/aligned_text.h"

namespace graft::text {

// A stretch of text that matches, or the stretch between two matches.
struct Match {
  size_t begin, end;
  bool is_match;
};

enum class Behavior { removed, isolated, merged_with_previous, merged_with_next, contiguous };
Behavior parse_behavior(const std::string& name, const std::string& where);

class Pattern {
 public:
  static Pattern string(std::string needle);
  // A regular expression in PCRE2's syntax, Unicode-aware; `where` names the component in the error.
  static Pattern regex(const std::string& expression, const std::string& where);
  static Pattern character(bool (*predicate)(char32_t));
  static Pattern gpt2();  // GPT-2's regular expression, written by hand
  // {"String": ...} or {"Regex": ...} or a bare string.
  static Pattern from_json(const Json& json, const std::string& where);

  void set_invert(bool invert) { invert_ = invert; }
  // Covers text[begin, end) with matches and gaps, in order; appends to `out`. Gaps are not empty; matches of
  // a regular expression may be.
  void find(std::string_view text, size_t begin, size_t end, std::vector<Match>& out) const;
  // Merges the matches of a split according to `behavior`. Ranges with is_match are to be removed afterwards.
  void split(std::string_view text, size_t begin, size_t end, Behavior behavior,
             std::vector<Match>& out) const;

 private:
  enum class Kind { string, regex, character, gpt2 };
  Kind kind_ = Kind::string;
  bool invert_ = false;
  std::string needle_;
  bool (*predicate_)(char32_t) = nullptr;
  std::shared_ptr<const struct CompiledRegex> regex_;
};

// End of the GPT-2 word that starts at text[pos] (pos < end, valid text).
size_t gpt2_word_end(std::string_view text, size_t pos, size_t end);

}  // namespace graft::text
