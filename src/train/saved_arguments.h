// What a saved folder says of how it was trained.
#pragma once
#include <cstdint>
#include <filesystem>

#include "graft/model.h"
#include "graft/tokenizer.h"

namespace graft::train {

// Tokens per example for evaluation and prediction: training_args.json's max_seq_length where the folder has one, else
// the smaller of the tokenizer's and the model's limits.
int64_t saved_max_seq_length(const std::filesystem::path& folder, const Model& model, const Tokenizer& tokenizer);

}  // namespace graft::train
