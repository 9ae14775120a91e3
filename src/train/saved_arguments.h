// What a saved folder says of how it was trained.
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "graft/model.h"
#include "graft/tokenizer.h"
#include "graft/trainer.h"

namespace graft::train {

// The arguments of training_args.json that evaluation and prediction follow: bf16, max_seq_length, seed,
// mlm_probability, whole_word_mask; and whether lines were sequences of their own. Defaults where the folder
// has no such file, as Python's have not. Error naming file and key for a value that cannot be one.
struct SavedArguments {
  TrainingArguments arguments;
  bool line_by_line = false;
};
SavedArguments saved_arguments(const std::filesystem::path& folder);

// Tokens per example for evaluation and prediction: `asked` where it is above 0, else training_args.json's
// max_seq_length within the model's and the tokenizer's limits; 0 = no limit. Error where `asked` cannot be.
int64_t inference_length(int64_t asked, const SavedArguments& saved, const Model& model,
                         const Tokenizer& tokenizer);

// The precision of matrix products, and the reason in a few words for the user.
struct Precision {
  bool bf16 = false;
  std::string why;
};

// What training computes in: as asked, else bf16 where the CPU has matrix instructions for it.
Precision training_precision(std::optional<bool> asked);
// What evaluation and prediction compute in: as asked, else as the folder's model was trained, on any CPU. A
// folder without a saved choice, Python's for one, is computed in fp32.
Precision inference_precision(std::optional<bool> asked, const SavedArguments& saved);

// Sets the model's precision; warns where this CPU only imitates it.
void use_precision(const Model& model, bool bf16);

}  // namespace graft::train
