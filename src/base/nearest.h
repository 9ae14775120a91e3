// The nearest known name, for "unknown X, did you mean Y?".
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace graft {

// Number of single-character edits (insert, delete, replace, swap of neighbours) between a and b.
size_t edit_distance(std::string_view a, std::string_view b);
// The name in `known` with the fewest edits from `name`, or "" if none is near (over a third of its length,
// or nothing in common) or `name` is over 200 bytes.
std::string nearest_name(std::string_view name, const std::vector<std::string>& known);

}  // namespace graft
