// A folder with a trained head, loaded.
#pragma once
#include <filesystem>
#include <string>

#include "graft/model.h"

namespace graft::train {

// The task whose head the folder's config.json names. Error where it names none that graft has.
std::string trained_task(const std::filesystem::path& folder);
// The model with the head of `task`. Error where the folder names another head, or has no weights for it.
Model load_trained(const std::filesystem::path& folder, const std::string& task);

// What to do about an output or a loss that is not finite.
inline constexpr const char* kNotFiniteHint =
    "the weights contain NaN or Inf: re-download or retrain the model";

}  // namespace graft::train
