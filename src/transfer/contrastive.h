// Unsupervised contrastive learning of sentence embeddings (Gao et al. 2021, "SimCSE"): a text and the same
// text, between which only dropout differs, are alike; the other texts of the batch are not.
#pragma once
#include <filesystem>

#include "graft/task_data.h"

namespace graft::transfer {

// The names of the evaluation sets where there are two.
inline constexpr const char *kDomain = "domain", *kGeneral = "general";

// `train`: a file of lines, each twice. Without dropout a text always finds itself, so held-out texts of six
// words or more are cut in halves, of which the first is to find the second. `general_held_out` may be empty.
// Throws Error for a file with fewer than two such texts.
TaskData contrastive_data(const std::filesystem::path& train, const std::filesystem::path& held_out,
                          const std::filesystem::path& general_held_out);

}  // namespace graft::transfer
