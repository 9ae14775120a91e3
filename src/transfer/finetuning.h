// Fine-tuning on the task as a cached stage, several seeds each, and the comparison of ways to get there.
#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "train/job.h"
#include "transfer/pretraining.h"
#include "transfer/statistics.h"

namespace graft::transfer {

struct FinetuningResult {
  std::filesystem::path folder;
  double score = 0, seconds = 0;
  bool cached = false, interrupted = false;
};

// Trains `job` from the model in `from` with one seed. The score is the task's primary metric on the test
// set, else on the validation set. `keeps_model`: the folder holds the model afterwards, else the score
// alone.
FinetuningResult finetune(const std::string& name, const std::filesystem::path& from,
                          const train::TrainJob& job, uint64_t seed, bool keeps_model,
                          const std::filesystem::path& root, const Hooks& hooks);

// What decides the result of training `job`, which is checked, from the model in `from` (a config.json for
// random weights): for the key of a stage. The test files are not part of it.
Json training_key(const std::filesystem::path& from, const train::TrainJob& job);

// Trains the model of `from` on `data` into the folder of the stage, from its newest checkpoint on.
// stage.json then has what `finish` returns, which may change the folder. False if the training was
// interrupted. `loaded`: that model, where the caller has loaded it as train::load_model does.
using Finish = std::function<Json(Trainer&, train::TrainState&, const TrainResult&)>;
bool train_stage(Stage& stage, train::TrainJob job, const std::filesystem::path& from, TaskData data,
                 const Hooks& hooks, const Finish& finish, std::optional<Model> loaded = std::nullopt);

// "test_accuracy": what the scores are.
std::string score_name(const train::TrainJob& job, const Trainer& trainer);

// The texts of the labelled training file, without labels, as a file of lines.
void write_task_texts(const train::TrainJob& job, const std::filesystem::path& to);

}  // namespace graft::transfer
