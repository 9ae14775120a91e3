// Patterns over names: * any characters, ? one character, [abc], [0-3] and [!a] one of a set.
#pragma once
#include <bitset>
#include <string>
#include <string_view>
#include <vector>

namespace graft::engine {

class Glob {
 public:
  // Throws Error for a set without its closing bracket.
  explicit Glob(const std::string& pattern);

  // Whether the whole name matches.
  bool matches(std::string_view name) const { return distance(name) == 0; }
  // Fewest characters to insert, delete or replace in `name` until it matches.
  size_t distance(std::string_view name) const;
  // The at most `count` names with the smallest distance, nearest first.
  std::vector<std::string> nearest(const std::vector<std::string>& names, size_t count) const;

 private:
  struct Token {
    bool any_string = false;        // *
    std::bitset<256> characters{};  // that match otherwise
  };
  std::vector<Token> tokens_;
};

}  // namespace graft::engine
