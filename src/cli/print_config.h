// --print_config: every option of a training with its value and who set it.
#pragma once
#include <string>

#include "cli/options.h"

namespace graft::cli {

// On stdout, as a table or as one json object. `arguments`: as the options gave them. Values that follow from
// others are derived as a Trainer derives them. Throws UsageError for arguments that it would refuse.
void print_config(const Options& options, TrainingArguments arguments, bool has_evaluation_data, bool json);

}  // namespace graft::cli
