// A training run described by the options of `graft train`. The command line and the C interface share it.
#pragma once
#include <filesystem>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "graft/trainer.h"
#include "tasks/task_table.h"

namespace graft::train {

struct TrainJob {
  std::string task_name = tasks::default_task().head->task;
  const tasks::TaskEntry* task = nullptr;          // set by check_job
  std::string model, config_name, tokenizer_name;  // as given: folders or names on the hub
  std::vector<std::string> train_file, validation_file, test_file;
  std::string load_lang_adapter;  // a folder, or a name on the hub
  DatasetOptions columns;
  std::vector<std::pair<std::string, double>> dropout;  // keys of config.json and their new values
  int64_t max_train_samples = -1, max_eval_samples = -1, max_predict_samples = -1;
  bool ignore_mismatched_sizes = false, overwrite_output_dir = false;
  TrainingArguments arguments;

  bool wants_evaluation() const {
    return arguments.do_eval.value_or(false) || arguments.eval_on_start || arguments.eval_strategy != "no";
  }
};

// Sets the dropout of a key of config.json, as --hidden_dropout_prob. Returns whether a family has this key.
bool override_dropout(TrainJob& job, const std::string& name, const std::string& value);

// Finds the task and throws UsageError for options that are missing, contradict each other or have no effect
// for the task. Sets do_train.
void check_job(TrainJob& job);

// Throws Error if the output folder holds files and may not be written into, or cannot be written.
void check_output_dir(const TrainJob& job);

// Reads the data files. `tokenizer_folder` may equal the checkpoint's.
TaskData load_data(const TrainJob& job, const std::filesystem::path& tokenizer_folder);

// `checkpoint`: the folder of job.model; with config_name that folder or file, for random weights.
Model load_model(const TrainJob& job, const std::filesystem::path& checkpoint, const TaskData& data);

// The folder of the checkpoint, found by `find` from its name; with config_name a path that exists is taken
// as it is.
std::filesystem::path find_checkpoint(const TrainJob& job,
                                      const std::function<std::filesystem::path(const std::string&)>& find);

// The numbers of a run that has ended. Unless it was interrupted it scores the test set, if there is one, and
// adds those metrics to all_results.json.
LogEntry summarize(const TrainJob& job, Trainer& trainer, const TrainResult& result);

}  // namespace graft::train
