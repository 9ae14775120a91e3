// Detects labels that look like lists of ids but are not: vectors of zeros and ones, and lists written as
// text.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "data/rows.h"

namespace graft::data {

// True when every item is 0, 1, true or false (in quotes or not): one a label, as multi-hot vectors have
// them.
bool is_zeros_and_ones(const std::vector<Cell>& items);

// The items as json, cut for a message: "[1, 0, 0]".
std::string shown_list(const std::vector<Cell>& items);

// The list of ids that a vector stands for: "[0, 2]" for [1, 0, 1].
std::string ids_of_vector(const std::vector<Cell>& items);

// What a text label looks like as numbers.
enum class NumberList {
  no,       // a name
  one,      // "3"
  several,  // "0 1", "1,0", "3,5": a list, or a number whose point is a comma
  list,     // "[0, 1]", "['a', 'b']": a list with its brackets
};
NumberList number_list(std::string_view text);

}  // namespace graft::data
