// The space on the disk of output_dir, compared with what a run writes before its first step.
#pragma once
#include <cstdint>

#include "train/parts.h"
#include "train/plan.h"
#include "train/train_state.h"

namespace graft::train {

// What a run will write into output_dir, in bytes.
struct DiskNeeds {
  uint64_t model = 0;       // the output
  uint64_t checkpoint = 0;  // one of them; 0 = none is written
  uint64_t best = 0;        // best/; 0 = none is written
  int64_t saves = 0;        // checkpoints that are still to come
  int64_t at_once = 0;      // more checkpoints than now lie there at the fullest
  // Without this much a run cannot end: the first checkpoint, best/ and the model.
  uint64_t least = 0;
  // With all checkpoints that it keeps.
  uint64_t all = 0;
};
DiskNeeds disk_needs(const Trainer::Parts& parts, TrainState& state, const StepPlan& plan);

// Throws Error if the disk has less space than a run needs at least; warns where it has less than all that
// the run will write. Call on a run that begins or was resumed. `free`: bytes; -1 = those of the disk. Rank 0
// alone looks.
void check_disk_space(const Trainer::Parts& parts, TrainState& state, const StepPlan& plan,
                      int64_t free = -1);

}  // namespace graft::train
