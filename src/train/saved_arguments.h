// The training arguments that a saved folder holds.
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "graft/model.h"
#include "graft/tokenizer.h"
#include "graft/trainer.h"
#include "tasks/question_settings.h"

namespace graft::train {

// The arguments of training_args.json that evaluation and prediction follow: bf16, max_seq_length, seed and
// the tasks' own options. Defaults if the folder has no such file, as folders of Python. Throws Error with
// file and key for an invalid value.
TrainingArguments saved_arguments(const std::filesystem::path& folder);

// The settings of question answering.
tasks::QuestionSettings question_settings(const TrainingArguments& arguments);

// Tokens per example for evaluation and prediction: `asked` if above 0, else max_seq_length of
// training_args.json, within the limits of model and tokenizer. 0 = no limit. Throws Error if `asked` exceeds
// the limits.
int64_t inference_length(int64_t asked, const TrainingArguments& saved, const Model& model,
                         const Tokenizer& tokenizer);

// The precision of matrix products, and the reason for the log.
struct Precision {
  bool bf16 = false;
  std::string why;
};

// The precision of training: as requested, else bf16 if that is faster on this CPU.
Precision training_precision(std::optional<bool> asked);
// The precision of evaluation and prediction: as requested, else that of training, on any CPU. fp32 for a
// folder without training_args.json.
Precision inference_precision(std::optional<bool> asked, const TrainingArguments& saved);

// Sets the model's precision. Warns if this CPU emulates bf16.
void use_precision(const Model& model, bool bf16);

}  // namespace graft::train
