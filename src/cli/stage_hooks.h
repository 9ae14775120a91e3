// What the command line does while a stage of a pipeline trains: progress, log lines, signals.
#pragma once
#include "transfer/pretraining.h"

namespace graft::cli {

// `arguments` decide precision and progress; they must outlive the hooks.
transfer::Hooks stage_hooks(const TrainingArguments& arguments);

}  // namespace graft::cli
