// Loads a folder with a trained head.
#pragma once
#include <filesystem>
#include <string>

#include "graft/model.h"

namespace graft::train {

// The task of the head in the folder's config.json. Throws Error if graft does not implement it.
std::string trained_task(const std::filesystem::path& folder);
// The model with the head of `task`. Throws Error if the folder has another head, or no weights for it.
Model load_trained(const std::filesystem::path& folder, const std::string& task);

// The hint for an output or a loss that is not finite.
inline constexpr const char* kNotFiniteHint =
    "the weights contain NaN or Inf: re-download or retrain the model";

}  // namespace graft::train
