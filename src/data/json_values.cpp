#include "data/json_values.h"

#include <fmt/format.h>

#include <algorithm>

namespace graft::data {

int bracket_depth(std::string_view text) {
  int depth = 0, deepest = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '"') in_string = !in_string;
    if (in_string && c == '\\') ++i;
    if (in_string) continue;
    if (c == '[' || c == '{') deepest = std::max(deepest, ++depth);
    if (c == ']' || c == '}') --depth;
  }
  return deepest;
}

bool JsonValues::next(std::string_view& value) {
  rest_.remove_prefix(std::min(rest_.find_first_not_of(" \t\r\n,:"), rest_.size()));
  if (rest_.empty() || rest_.front() == ']' || rest_.front() == '}') return false;
  const size_t size = size_of_value();
  value = rest_.substr(0, size);
  rest_.remove_prefix(size);
  return true;
}

size_t JsonValues::size_of_value() const {
  const char first = rest_.front();
  if (first != '"' && first != '[' && first != '{')
    return std::min(rest_.find_first_of(",]} \t\r\n"), rest_.size());
  int64_t depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < rest_.size(); ++i) {
    const char c = rest_[i];
    if (in_string && c == '\\') {
      ++i;
      continue;
    }
    if (c == '"') in_string = !in_string;
    if (in_string) continue;
    depth += (c == '[' || c == '{') - (c == ']' || c == '}');
    if (depth == 0) return i + 1;
  }
  return rest_.size();
}

Cell to_cell(std::string_view json) {
  Cell cell;
  switch (json.front()) {
    case 'n':
      cell.kind = Cell::Kind::null;
      break;
    case '"':
      cell.kind = Cell::Kind::text;
      cell.text = json.find('\\') == json.npos ? std::string(json.substr(1, json.size() - 2))
                                               : std::move(Json::parse(json).text());
      break;
    case 't':
    case 'f':
      cell.kind = Cell::Kind::boolean;
      cell.text = json;
      break;
    case '[':
    case '{':
      cell.kind = json.front() == '[' ? Cell::Kind::list : Cell::Kind::object;
      cell.text = json;
      break;
    default:
      cell.kind = json.find_first_of(".eE") == json.npos ? Cell::Kind::integer : Cell::Kind::real;
      cell.text = cell.kind == Cell::Kind::integer ? std::string(json) : Json::parse(json).dump();
  }
  return cell;
}

std::vector<Cell> list_items(const Cell& list, size_t limit) {
  std::vector<Cell> items;
  JsonValues values(list.text);
  for (std::string_view value; items.size() < limit && values.next(value);) items.push_back(to_cell(value));
  return items;
}

std::string_view skip_space(std::string_view json) {
  json.remove_prefix(std::min(json.find_first_not_of(" \t\r\n"), json.size()));
  return json;
}

const char* kind_of(std::string_view json) {
  switch (json.empty() ? ' ' : json.front()) {
    case 'n':
      return "null";
    case '"':
      return "a string";
    case 't':
    case 'f':
      return "a boolean";
    case '[':
      return "an array";
    case '{':
      return "an object";
    default:
      return "a number";
  }
}

std::string parse_hint(std::string_view text, const JsonParseError& error) {
  if (error.reason == JsonParseError::Reason::number_too_large) return "a number is too large";
  // What Python's json.dumps and str(dict) write beyond JSON.
  const size_t at = std::min(error.at, text.size());
  const std::string_view near = text.substr(at - std::min<size_t>(at, 2), 12);
  const auto has = [&](std::string_view name) { return near.find(name) != near.npos; };
  if (has("aN") || has("nfinity"))
    return "NaN and Infinity are not JSON: write a number or null, or remove the row";
  if (has("'")) return "JSON has double quotes: write the rows with json.dumps";
  if (has("True") || has("False") || has("None"))
    return "JSON has true, false and null: write the rows with json.dumps";
  return "";
}

}  // namespace graft::data
