// Models with a trained head.
#pragma once
#include <filesystem>
#include <string>

#include "graft/model.h"
#include "models/config.h"

namespace graft::train {

// The hint for an output or a loss that is not finite.
inline constexpr const char* kNotFiniteHint =
    "such weights come from a damaged copy or from a training that diverged: copy or download the checkpoint "
    "again, or train it again";

// The folder's config.json. For a folder without one the Error says what it holds: checkpoints of a run, ...
models::ModelConfig config_of(const std::filesystem::path& folder);
// Throws the Error of a folder that holds checkpoints of a run and no model yet; it names the newest one.
void check_run_ended(const std::filesystem::path& folder);
// The task of the head in a checkpoint folder: what config.json's "architectures" names. Where that names no
// class, the head whose tensors the checkpoint holds; Error if it holds several. "" = no head that graft has.
std::string head_task(const std::filesystem::path& folder, const models::ModelConfig& config);
// The same; Error if there is none.
std::string trained_task(const std::filesystem::path& folder);
// For a folder without a trained head: the Error says what it holds and what to do.
[[noreturn]] void fail_without_head(const std::filesystem::path& folder, const models::ModelConfig& config);
// The model of the folder for `task`. Throws Error if its config.json names another head or none is there.
// `language`: ModelOptions::load_lang_adapter.
Model load_trained(const std::filesystem::path& folder, const std::string& task,
                   const std::filesystem::path& language = {});
// The same of a folder of adapters, with the weights of its base in memory (models::load_over).
Model load_trained_over(const Model& base, const std::filesystem::path& folder, const std::string& task,
                        const std::filesystem::path& language = {});

}  // namespace graft::train
