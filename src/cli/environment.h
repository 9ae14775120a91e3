// Environment variables of graft: GRAFT_LEARNING_RATE is --learning_rate of `graft train`.
#pragma once
#include <string>
#include <utility>
#include <vector>

namespace graft::cli {

// The variables GRAFT_NAME with a value that may name an option, as ("name", value), sorted. Those of the
// project itself (GRAFT_ISA, GRAFT_SHARED, ...) are left out.
std::vector<std::pair<std::string, std::string>> option_variables();
// "GRAFT_LEARNING_RATE" of "learning_rate".
std::string variable_of(const std::string& option);
// Warns of a misspelt variable, which would have no effect. `options`: those of `graft train`. `all`: also of
// one that resembles none of them, which may be another program's.
void warn_of_misspelt_variables(const std::vector<std::string>& options, bool all);

}  // namespace graft::cli
