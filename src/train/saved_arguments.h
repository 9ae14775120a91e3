// What a saved folder says of how it was trained.
#pragma once
#include <cstdint>
#include <filesystem>

#include "graft/model.h"
#include "graft/tokenizer.h"

namespace graft::train {

// Tokens per example for evaluation and prediction: training_args.json's max_seq_length where the folder has
// one, else the smaller of the tokenizer's and the model's limits.
int64_t saved_max_seq_length(const std::filesystem::path& folder, const Model& model,
                             const Tokenizer& tokenizer);

// Whether the folder's model was trained with --bf16 true: evaluation and prediction compute as training did.
bool saved_bf16(const std::filesystem::path& folder);

// Sets the model's precision and says it in the log: what, and what it costs on this CPU.
void use_precision(const Model& model, bool bf16);

}  // namespace graft::train
