// Proves on a run that resuming gives the bits of the uninterrupted run.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "graft/trainer.h"

namespace graft::train {

struct ResumeReport {
  int64_t steps = 0, interrupted_at = 0;
  int64_t tensors = 0, values = 0;  // of weights and optimizer
  int64_t log_lines = 0;
  std::string difference;  // the first one; "" = none
};

// Makes the trainer of a run from its beginning, each time from new objects.
using MakeTrainer = std::function<std::unique_ptr<Trainer>(const TrainingArguments&)>;

// Runs `steps` steps, or the whole run if it has fewer: at once, and with a restart from disk in the middle.
// Compares the two last checkpoints. They are in a folder beside output_dir, which is removed. Throws Error
// for a run of one step.
ResumeReport verify_resume(const MakeTrainer& make_trainer, const TrainingArguments& arguments, int64_t steps,
                           const Observer& observer = {});

// The comparison: safetensors files by tensor, trainer_state.json without times.
void compare_checkpoints(const std::filesystem::path& whole, const std::filesystem::path& resumed,
                         ResumeReport& report);

}  // namespace graft::train
