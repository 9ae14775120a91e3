#include "engine/glob.h"

#include <algorithm>

#include "base/error.h"

namespace graft::engine {
namespace {

size_t byte_of(char c) { return static_cast<unsigned char>(c); }

// The set that begins behind the bracket at `begin`; `end` becomes the index of its closing bracket.
std::bitset<256> parse_set(const std::string& pattern, size_t begin, size_t& end) {
  const bool negated = begin + 1 < pattern.size() && pattern[begin + 1] == '!';
  const size_t first = begin + (negated ? 2 : 1);
  end = pattern.find(']', first + 1);  // a bracket in first place is a member
  if (first >= pattern.size() || end == std::string::npos)
    fail_with("write [0-3], or [[] for the bracket itself", "pattern \"{}\": the set has no closing bracket",
              pattern);
  std::bitset<256> set;
  for (size_t i = first; i < end; ++i) {
    const bool range = i + 2 < end && pattern[i + 1] == '-';
    const size_t last = byte_of(pattern[range ? i + 2 : i]);
    for (size_t c = byte_of(pattern[i]); c <= last; ++c) set.set(c);
    if (range) i += 2;
  }
  return negated ? ~set : set;
}

}  // namespace

Glob::Glob(const std::string& pattern) {
  for (size_t i = 0; i < pattern.size(); ++i) {
    Token token;
    if (pattern[i] == '*')
      token.any_string = true;
    else if (pattern[i] == '?')
      token.characters.set();
    else if (pattern[i] == '[')
      token.characters = parse_set(pattern, i, i);
    else
      token.characters.set(byte_of(pattern[i]));
    tokens_.push_back(token);
  }
}

// Levenshtein's table, row by row of tokens: cost[j] is the distance of the tokens so far to the first j
// characters of the name.
size_t Glob::distance(std::string_view name) const {
  std::vector<size_t> cost(name.size() + 1);
  for (size_t j = 0; j <= name.size(); ++j) cost[j] = j;
  for (const Token& token : tokens_) {
    size_t diagonal = cost[0];
    if (!token.any_string) ++cost[0];
    for (size_t j = 1; j <= name.size(); ++j) {
      const size_t above = cost[j];
      if (token.any_string)
        cost[j] = std::min(above, cost[j - 1]);
      else
        cost[j] = std::min(
            {diagonal + (token.characters[byte_of(name[j - 1])] ? 0 : 1), above + 1, cost[j - 1] + 1});
      diagonal = above;
    }
  }
  return cost.back();
}

std::vector<std::string> Glob::nearest(const std::vector<std::string>& names, size_t count) const {
  std::vector<std::pair<size_t, size_t>> order;
  for (size_t i = 0; i < names.size(); ++i) order.emplace_back(distance(names[i]), i);
  count = std::min(count, order.size());
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(count), order.end());
  std::vector<std::string> out;
  for (size_t i = 0; i < count; ++i) out.push_back(names[order[i].second]);
  return out;
}

}  // namespace graft::engine
