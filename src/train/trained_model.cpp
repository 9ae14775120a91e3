#include "train/trained_model.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "base/error.h"
#include "base/folder.h"
#include "base/log.h"
#include "hub/state_dict.h"
#include "models/config_keys.h"
#include "models/registry.h"

namespace graft::train {
namespace {

bool names_a_class(const models::ModelConfig& config) {
  const auto it = config.json().find("architectures");
  return it != config.json().end() && it->is_array() &&
         std::any_of(it->begin(), it->end(), [](const Json& name) { return name.is_string(); });
}

// Heads of the family of which the checkpoint holds a tensor.
std::vector<const models::HeadKind*> heads_of_tensors(const std::filesystem::path& folder,
                                                      const models::Family& family,
                                                      models::ModelConfig config) {
  std::vector<const models::HeadKind*> found;
  const hub::StateDict tensors = hub::read_checkpoint(folder);
  models::resolve_second_spellings(config);
  if (family.settle) family.settle(config, &tensors);
  if (config.label_names().empty()) config.set_labels({"LABEL_0", "LABEL_1"});
  for (const models::FamilyHead& head : family.heads) {
    engine::ParameterStore store;
    head.make(store, config);
    const auto& parameters = store.parameters();
    const bool is_there =
        std::any_of(parameters.begin(), parameters.end(), [&](const engine::Parameter& parameter) {
          return !models::is_backbone(family, parameter.name) && tensors.find(parameter.name);
        });
    if (is_there) found.push_back(head.kind);
  }
  return found;
}

// What to write into config.json for one of these heads.
std::string how_to_name(const models::Family& family, const std::vector<const models::HeadKind*>& heads) {
  std::vector<std::string> choices;
  for (const models::HeadKind* head : heads)
    choices.push_back(fmt::format("\"architectures\": [\"{}\"]", models::class_name(family, *head)));
  return fmt::format("{}", fmt::join(choices, " or "));
}

[[noreturn]] void fail_without_head(const std::filesystem::path& folder, const models::ModelConfig& config) {
  const models::Family& family = models::find_family(config);
  const std::vector<const models::HeadKind*> heads = heads_of_tensors(folder, family, config);
  fail_with(
      heads.empty()
          ? "fine-tune it first: graft train"
          : fmt::format("the checkpoint holds the tensors of a head; to use it write {} into config.json",
                        how_to_name(family, heads)),
      "{}: {}{}", folder.string(), models::head_in_words(config),
      heads.empty() && !names_a_class(config) ? ", and the checkpoint holds no tensor of a head" : "");
}

}  // namespace

models::ModelConfig config_of(const std::filesystem::path& folder) {
  if (path_exists(folder / "config.json")) return models::ModelConfig::from_file(folder / "config.json");
  std::filesystem::path last;
  if (is_folder(folder)) {
    for (const auto& path : list_folder(folder)) {
      if (path.filename().string().starts_with("checkpoint-") && path_exists(path / "config.json"))
        last = path;
    }
  }
  if (!last.empty())
    fail_with(fmt::format("name one of its checkpoints, for example {}", last.string()),
              "{}: config.json is missing: the run did not end", folder.string());
  Model::from_pretrained(folder);
  fail("{}: config.json is missing", folder.string());
}

std::string head_task(const std::filesystem::path& folder, const models::ModelConfig& config) {
  if (names_a_class(config)) return models::task_of_config(config);
  const models::Family& family = models::find_family(config);
  const std::vector<const models::HeadKind*> found = heads_of_tensors(folder, family, config);
  if (found.size() > 1) {
    fail_with(
        fmt::format("write {} into config.json", how_to_name(family, found)),
        "{}: config.json names no head (\"architectures\"), and the checkpoint holds the tensors of two",
        folder.string());
  }
  return found.empty() ? "" : found[0]->task;
}

std::string trained_task(const std::filesystem::path& folder) {
  const models::ModelConfig config = config_of(folder);
  std::string task = head_task(folder, config);
  if (task.empty()) fail_without_head(folder, config);
  return task;
}

Model load_trained(const std::filesystem::path& folder, const std::string& task) {
  const models::ModelConfig config = config_of(folder);
  const std::string found = head_task(folder, config);
  if (found.empty()) fail_without_head(folder, config);
  if (found != task) {
    fail_with(fmt::format("fine-tune it first: graft train --task {}", task), "{}: not a {} model: {}",
              folder.string(), task,
              names_a_class(config) ? models::head_in_words(config)
                                    : fmt::format("the checkpoint holds a {} head", found));
  }
  ModelOptions options;
  options.task = task;
  Model model = Model::from_pretrained(folder, options);
  if (!model.load_report().missing.empty()) {
    fail_with("fine-tune it first: graft train", "{}: the checkpoint has no trained head ({} is missing)",
              folder.string(), model.load_report().missing.front());
  }
  if (!names_a_class(config)) {
    log_info("{}: config.json names no head (\"architectures\"); the tensors are those of {}",
             folder.string(), task);
  }
  return model;
}

}  // namespace graft::train
