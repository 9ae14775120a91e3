// Reads values from the text of a json row without building a tree, which takes up to 40 times the text.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "data/rows.h"

namespace graft::data {

// How deep the brackets of a text are nested; the text need not be valid.
int bracket_depth(std::string_view text);

// The functions below are for valid json (check_json).

// Cuts out the values of a list or object; an object's keys count as values.
class JsonValues {
 public:
  // `json` starts with the opening bracket.
  explicit JsonValues(std::string_view json) : rest_(json.substr(1)) {}
  // False at the closing bracket.
  bool next(std::string_view& value);

 private:
  size_t size_of_value() const;
  std::string_view rest_;
};

Cell to_cell(std::string_view json);
// The first `limit` items of a list.
std::vector<Cell> list_items(const Cell& list, size_t limit);

std::string_view skip_space(std::string_view json);
const char* kind_of(std::string_view json);  // "an array", "a number", ...

// A hint about the likely cause of a parse error, or "".
std::string parse_hint(std::string_view text, const JsonParseError& error);

}  // namespace graft::data
