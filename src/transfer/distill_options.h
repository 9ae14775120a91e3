// What the options of graft distill must not be.
#pragma once
#include "transfer/distill.h"

namespace graft::transfer {

// Throws UsageError for options that are missing, contradict each other or would have no effect.
void check_distill_options(const DistillOptions& options);
// The same for the losses, once it is known what the teacher gives.
void check_losses(const DistillOptions& options, TargetKind kind);

}  // namespace graft::transfer
