// The options that describe a training run: those of `graft train`, which `graft verify-resume` has too.
#pragma once
#include "cli/options.h"
#include "train/job.h"

namespace graft::cli {

void declare_job(Options& options, train::TrainJob& job);

}  // namespace graft::cli
