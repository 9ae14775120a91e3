// Label names that look equal: "True" and "true", "sci fi" and "sci fi ", composed and decomposed accents,
// "01" and "1", Latin and Cyrillic letters.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "graft/dataset.h"

namespace graft::data {

// Equal for names that differ in case, Unicode form (NFKC), invisible characters or white space at the ends
// only.
std::string folded(std::string_view name);

// Equal for names that a reader takes for one another: as folded; for one number written in two ways ("01",
// "1", "1.0"); for letters of another script that look alike (Latin "pos", Cyrillic "роѕ").
std::string skeleton(std::string_view name);

// How two names of one skeleton differ: "in case, outer spaces or Unicode form", ...
const char* difference(std::string_view a, std::string_view b);

// The first of `known` that differs from `name` but has the same skeleton, or "".
std::string look_alike(std::string_view name, const std::vector<std::string>& known);

// Both names for a message, escaped to ASCII where they would look the same: "'cafe\u0301' and 'caf\u00E9'".
std::string both_shown(const std::string& a, const std::string& b);

// Warns of each pair (a few, then a count); `place` is the file and column.
void warn_of_similar_names(const std::vector<LabelCount>& labels, const std::string& place);

}  // namespace graft::data
