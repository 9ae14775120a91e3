// config.json's problem_type: what the head's outputs mean.
#pragma once

namespace graft::data::problem_type {

inline constexpr const char* kRegression = "regression";
inline constexpr const char* kSingleLabel = "single_label_classification";
inline constexpr const char* kMultiLabel = "multi_label_classification";

}  // namespace graft::data::problem_type
