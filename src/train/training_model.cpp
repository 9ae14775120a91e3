// Loads a model whose head fits the training data.
#include "graft/trainer.h"

#include "base/error.h"
#include "base/folder.h"
#include "models/registry.h"
#include "tasks/task_table.h"
#include "train/trained_model.h"

namespace graft {

Model load_for_training(const std::filesystem::path& folder_or_config, const TaskData& data,
                        ModelOptions options) try {
  const bool random_weights = !is_folder(folder_or_config);
  const tasks::TaskEntry& task = tasks::find_task(options.task);
  options.task = task.head->task;
  if (task.choose_head && options.labels.empty() && options.num_labels == 0) {
    const models::ModelConfig config = random_weights ? models::ModelConfig::from_file(folder_or_config)
                                                      : train::config_of(folder_or_config);
    data::CheckpointLabels checkpoint;
    checkpoint.has_head = !random_weights && !options.ignore_mismatched_sizes &&
                          train::head_task(folder_or_config, config) == options.task;
    checkpoint.names = config.label_names();
    checkpoint.problem_type = !options.problem_type.empty() ? options.problem_type
                              : checkpoint.has_head         ? config.text_or("problem_type", "")
                                                            : "";
    task.choose_head(options, checkpoint, data);
  }
  return random_weights ? Model::from_config(folder_or_config, options)
                        : Model::from_pretrained(folder_or_config, options);
} catch (...) {
  rethrow_as_error();
}

}  // namespace graft
