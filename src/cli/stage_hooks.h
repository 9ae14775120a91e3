// What the command line does while a stage of a pipeline trains: progress, log lines, signals.
#pragma once
#include "cli/options.h"
#include "transfer/pretraining.h"

namespace graft::cli {

// `arguments` decide precision and progress; they must outlive the hooks.
transfer::Hooks stage_hooks(const TrainingArguments& arguments);

// Throws UsageError for --do_train false, and for --resume_from_checkpoint of a command whose parts are
// cached: `cached` names them, "each seed".
void refuse_no_training(const Options& options, const TrainingArguments& arguments);
void refuse_resuming(const TrainingArguments& arguments, const char* cached);

}  // namespace graft::cli
