// The few-shot part of `graft xling`: a model that was trained on the source goes on with a few rows of a
// target language.
#pragma once
#include <filesystem>
#include <functional>
#include <optional>
#include <vector>

#include "transfer/xling.h"
#include "transfer/xling_data.h"

namespace graft::transfer {

// The arguments of a run on a few rows: those of the job without evaluation, saving and averaging, with ten
// epochs, and then the ones of --few_shot_arguments. Throws UsageError for one of these that is no argument.
TrainingArguments few_shot_arguments(const XlingJob& job);

// Indices of the rows of a few-shot file that its test file does not have. `shots` receives the language and
// how many are left out; where they are drawn by label, also which of `known_labels` have too few. Throws
// Error where fewer are left than the largest --few_shot asks for; UsageError for labels that are numbers or
// lists, of which no "k of each" can be drawn.
std::vector<size_t> shot_candidates(const XlingJob& job, const LanguageRows& from, const Dataset& tested,
                                    bool of_labels, const std::vector<std::string>& known_labels,
                                    Shots& shots);

// Trains the model of `folder` on `rows` into job.arguments.output_dir, which is removed before and after,
// and returns its score; nullopt if it was interrupted.
std::optional<double> train_shots(train::TrainJob job, const std::filesystem::path& folder, Dataset rows,
                                  const Hooks& hooks, const std::function<double(const Model&)>& score);

}  // namespace graft::transfer
