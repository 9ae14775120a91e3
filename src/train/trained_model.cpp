#include "train/trained_model.h"

#include "base/error.h"
#include "models/registry.h"

namespace graft::train {
std::string trained_task(const std::filesystem::path& folder) {
  const models::ModelConfig config = models::ModelConfig::from_file(folder / "config.json");
  std::string task = models::task_of_config(config);
  if (task.empty()) {
    models::find_family(config);  // throws if the model_type is not implemented
    fail_with("fine-tune it first: graft train", "{}: {}", folder.string(), models::head_in_words(config));
  }
  return task;
}

Model load_trained(const std::filesystem::path& folder, const std::string& task) {
  const models::ModelConfig config = models::ModelConfig::from_file(folder / "config.json");
  if (const std::string found = models::task_of_config(config); found != task) {
    if (found.empty()) models::find_head(models::find_family(config), task, config);  // throws if not there
    fail_with(fmt::format("fine-tune it first: graft train --task {}", task), "{}: not a {} model: {}",
              folder.string(), task, models::head_in_words(config));
  }
  ModelOptions options;
  options.task = task;
  Model model = Model::from_pretrained(folder, options);
  if (!model.load_report().missing.empty()) {
    fail_with("fine-tune it first: graft train", "{}: the checkpoint has no trained head ({} is missing)",
              folder.string(), model.load_report().missing.front());
  }
  return model;
}

}  // namespace graft::train
