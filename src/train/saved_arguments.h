// What a saved folder says of how it was trained.
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "graft/model.h"
#include "graft/tokenizer.h"

namespace graft::train {

// Tokens per example for evaluation and prediction: training_args.json's max_seq_length where the folder has
// one, else the smaller of the tokenizer's and the model's limits.
int64_t saved_max_seq_length(const std::filesystem::path& folder, const Model& model,
                             const Tokenizer& tokenizer);

// The precision of matrix products, and the reason in a few words for the user.
struct Precision {
  bool bf16 = false;
  std::string why;
};

// What training computes in: as asked, else bf16 where the CPU has matrix instructions for it.
Precision training_precision(std::optional<bool> asked);
// What a folder's model was trained in: evaluation and prediction compute as training did, on any CPU. A
// folder without a saved choice, Python's for one, is computed in fp32.
Precision saved_precision(const std::filesystem::path& folder);

// Sets the model's precision; warns where this CPU only imitates it.
void use_precision(const Model& model, bool bf16);

}  // namespace graft::train
