// --resume_from_checkpoint: finds the checkpoint, checks that this run is the one that wrote it, restores it.
#pragma once
#include <filesystem>
#include <optional>

#include "train/parts.h"
#include "train/plan.h"
#include "train/train_state.h"

namespace graft::train {

// The checkpoint that the arguments ask for; none to begin the run: nothing was asked for, or output_dir has
// no checkpoint yet. With "true" or "last" the newest one of output_dir that is complete and unchanged;
// others are named in a warning. Throws Error if none is, or if the one that was named is not.
std::optional<std::filesystem::path> find_resumable(const TrainingArguments& arguments);

// Continues the run in a checkpoint, if one is asked for: weights, optimizer, `state`, and `plan` with
// --ignore_data_skip. Logs where it continues and what differs from the run before. Throws Error for a
// checkpoint of another model, for data or batches that are not those of the run, and for damaged files.
void resume(Trainer::Parts& parts, TrainState& state, StepPlan& plan);

}  // namespace graft::train
