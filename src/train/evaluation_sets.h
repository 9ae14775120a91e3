// Several evaluation sets with names: --validation_file en=dev.en.csv,de=dev.de.csv
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "train/parts.h"

namespace graft::train {

// The sets of the values of --validation_file, as (name, file); empty where they are files without names.
// Throws UsageError for a name that is given twice, and where only some have one.
std::vector<std::pair<std::string, std::string>> named_files(const std::vector<std::string>& values);

std::vector<Trainer::Parts::NamedFeatures> prepare_evaluation_sets(Model& model, const TaskData& data,
                                                                   const tasks::FeatureSettings& settings);

bool has_evaluation(const Trainer::Parts& parts);
// The metrics of all evaluation sets, with the prefix "eval_", or "eval_NAME_" where they have names.
LogEntry evaluate_sets(Trainer::Parts& parts);

}  // namespace graft::train
