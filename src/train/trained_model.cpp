#include "train/trained_model.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <optional>
#include <set>

#include "base/error.h"
#include "base/folder.h"
#include "base/log.h"
#include "hub/state_dict.h"
#include "models/adapter_folder.h"
#include "models/config_keys.h"
#include "models/registry.h"
#include "models/state.h"
#include "train/checkpoint.h"

namespace graft::train {
namespace {

bool names_a_class(const models::ModelConfig& config) {
  const auto it = config.json().find("architectures");
  return it != config.json().end() && it->is_array() &&
         std::any_of(it->begin(), it->end(), [](const Json& name) { return name.is_string(); });
}

// A head whose tensors a checkpoint holds: those behind the backbone, and the pooler.
struct FoundHead {
  const models::HeadKind* kind;
  std::set<std::string> tensors;
  bool fits;  // all are there, in the shapes of config.json
};

// Some heads have names that are some of another head's, or the same: a BERT's classifier is that of tokens
// without a pooler, and with one that of sequences, or, with one output, of choices.
bool explains_better(const FoundHead& a, const FoundHead& b) {
  if (a.tensors == b.tensors) return a.fits && !b.fits;
  return std::includes(a.tensors.begin(), a.tensors.end(), b.tensors.begin(), b.tensors.end());
}

std::optional<FoundHead> find_head_of_tensors(const models::Family& family, const models::FamilyHead& head,
                                              const models::ModelConfig& config,
                                              const hub::StateDict& tensors) {
  engine::ParameterStore store;
  head.make(store, config);
  FoundHead found{head.kind, {}, true};
  const std::string pooler = std::string(family.base_prefix) + ".pooler.";
  bool own = false;
  for (const engine::Parameter& p : store.parameters()) {
    const bool backbone = models::is_backbone(family, p.name);
    if (backbone && !p.name.starts_with(pooler)) continue;
    const hub::TensorView* t = tensors.find(p.name);
    if (!t && backbone) t = tensors.find(models::other_backbone_name(family, p.name));
    found.fits = found.fits && t && t->shape == p.shape;
    if (!t) continue;
    own = own || !backbone;
    found.tensors.insert(p.name);
  }
  if (!own) return std::nullopt;
  return found;
}

hub::StateDict tensors_of(const std::filesystem::path& folder) {
  return models::is_adapter_folder(folder) ? models::open_adapter(folder).tensors
                                           : hub::read_checkpoint(folder);
}

// Heads of the family of which the checkpoint holds a tensor. Of heads that share names the one that explains
// more of the tensors, else the first of the family.
std::vector<const models::HeadKind*> heads_of_tensors(const hub::StateDict& tensors,
                                                      const models::Family& family,
                                                      models::ModelConfig config) {
  models::resolve_second_spellings(config);
  if (family.settle) family.settle(config, &tensors);
  if (config.label_names().empty()) config.set_labels({"LABEL_0", "LABEL_1"});
  std::vector<FoundHead> found;
  for (const models::FamilyHead& head : family.heads) {
    if (head.kind->is_bare) continue;
    const std::optional<FoundHead> next = find_head_of_tensors(family, head, config, tensors);
    if (!next) continue;
    bool replaced = false;
    for (FoundHead& other : found) {
      const bool related = std::includes(next->tensors.begin(), next->tensors.end(), other.tensors.begin(),
                                         other.tensors.end()) ||
                           std::includes(other.tensors.begin(), other.tensors.end(), next->tensors.begin(),
                                         next->tensors.end());
      if (!related) continue;
      if (explains_better(*next, other)) other = *next;
      replaced = true;
      break;
    }
    if (!replaced) found.push_back(*next);
  }
  std::vector<const models::HeadKind*> kinds;
  for (const FoundHead& head : found) kinds.push_back(head.kind);
  return kinds;
}

// What to write into config.json for one of these heads.
std::string how_to_name(const models::Family& family, const std::vector<const models::HeadKind*>& heads) {
  std::vector<std::string> choices;
  for (const models::HeadKind* head : heads)
    choices.push_back(fmt::format("\"architectures\": [\"{}\"]", models::class_name(family, *head)));
  return fmt::format("{}", fmt::join(choices, " or "));
}

[[noreturn]] void fail_without_head(const std::filesystem::path& folder, const models::ModelConfig& config,
                                    const hub::StateDict& tensors) {
  const models::Family& family = models::find_family(config);
  const std::vector<const models::HeadKind*> heads = heads_of_tensors(tensors, family, config);
  fail_with(
      heads.empty()
          ? "fine-tune it first: graft train (graft embed writes embeddings without a head)"
          : fmt::format("the checkpoint holds the tensors of a head; to use it write {} into config.json",
                        how_to_name(family, heads)),
      "{}: {}{}", folder.string(), models::head_in_words(config),
      heads.empty() && !names_a_class(config) ? ", and the checkpoint holds no tensor of a head" : "");
}

// Where config.json names no class.
std::string head_of_tensors(const std::filesystem::path& folder, const models::ModelConfig& config,
                            const hub::StateDict& tensors) {
  const models::Family& family = models::find_family(config);
  const std::vector<const models::HeadKind*> found = heads_of_tensors(tensors, family, config);
  if (found.size() > 1) {
    fail_with(
        fmt::format("write {} into config.json", how_to_name(family, found)),
        "{}: config.json names no head (\"architectures\"), and the checkpoint holds the tensors of two",
        folder.string());
  }
  return found.empty() ? "" : found[0]->task;
}

// Throws Error if the head of the folder is not that of `task`.
void check_head(const std::filesystem::path& folder, const models::ModelConfig& config,
                const std::string& found, const std::string& task) {
  if (found == task) return;
  fail_with(fmt::format("fine-tune it first: graft train --task {}", task), "{}: not a {} model: {}",
            folder.string(), task,
            names_a_class(config) ? models::head_in_words(config)
                                  : fmt::format("the checkpoint holds a {} head", found));
}

void check_loaded(const Model& model, const std::filesystem::path& folder,
                  const models::ModelConfig& config) {
  if (!model.load_report().missing.empty()) {
    fail_with("fine-tune it first: graft train", "{}: the checkpoint has no trained head ({} is missing)",
              folder.string(), model.load_report().missing.front());
  }
  if (!names_a_class(config)) {
    log_info("{}: config.json names no head (\"architectures\"); the tensors are those of {}",
             folder.string(), model.task());
  }
}

}  // namespace

void fail_without_head(const std::filesystem::path& folder, const models::ModelConfig& config) {
  fail_without_head(folder, config, tensors_of(folder));
}

void check_run_ended(const std::filesystem::path& folder) {
  if (!is_folder(folder) || path_exists(folder / "config.json") || models::is_adapter_folder(folder)) return;
  const std::vector<int64_t> steps = checkpoints_in(folder);
  if (steps.empty()) return;
  fail_with(fmt::format("name one of its checkpoints, for example {}",
                        (folder / checkpoint_name(steps.back())).string()),
            "{}: config.json is missing: the run did not end", folder.string());
}

models::ModelConfig config_of(const std::filesystem::path& folder) {
  if (path_exists(folder / "config.json")) return models::ModelConfig::from_file(folder / "config.json");
  if (is_folder(folder) && models::is_adapter_folder(folder))
    return models::config_of_adapter(models::open_adapter(folder));
  check_run_ended(folder);
  Model::from_pretrained(folder);
  fail("{}: config.json is missing", folder.string());
}

std::string head_task(const std::filesystem::path& folder, const models::ModelConfig& config) {
  if (names_a_class(config)) return models::task_of_config(config);
  return head_of_tensors(folder, config, tensors_of(folder));
}

std::string trained_task(const std::filesystem::path& folder) {
  const models::ModelConfig config = config_of(folder);
  std::string task = head_task(folder, config);
  if (task.empty()) fail_without_head(folder, config);
  return task;
}

Model load_trained(const std::filesystem::path& folder, const std::string& task,
                   const std::filesystem::path& language) {
  const models::ModelConfig config = config_of(folder);
  const std::string found = head_task(folder, config);
  if (found.empty()) fail_without_head(folder, config);
  check_head(folder, config, found, task);
  ModelOptions options;
  options.task = task;
  options.load_lang_adapter = language;
  Model model = Model::from_pretrained(folder, options);
  check_loaded(model, folder, config);
  return model;
}

Model load_trained_over(const Model& base, const std::filesystem::path& folder, const std::string& task,
                        const std::filesystem::path& language) {
  if (!is_folder(folder) || !models::is_adapter_folder(folder))
    fail_with("an adapter's folder holds adapter_config.json and no weights of a whole model",
              "{}: is no folder of adapters", folder.string());
  const models::AdapterFolder adapter = models::open_adapter(folder, base.state().origin);
  const models::ModelConfig config = models::config_of_adapter(adapter);
  const std::string found = names_a_class(config) ? models::task_of_config(config)
                                                  : head_of_tensors(folder, config, adapter.tensors);
  if (found.empty()) fail_without_head(folder, config, adapter.tensors);
  check_head(folder, config, found, task);
  ModelOptions options;
  options.task = task;
  options.load_lang_adapter = language;
  Model model = models::load_over(base, adapter, options);
  check_loaded(model, folder, config);
  return model;
}

}  // namespace graft::train
