#include "models/adapter_folder.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <map>
#include <set>

#include "base/checkpoint_files.h"
#include "base/error.h"
#include "base/folder.h"
#include "base/nearest.h"
#include "base/shown.h"
#include "hub/resolve.h"
#include "hub/torch_bin.h"
#include "models/bottleneck_folder.h"
#include "models/registry.h"
#include "models/state.h"

namespace graft::models {
namespace fs = std::filesystem;

namespace {

constexpr const char* kBin = "adapter_model.bin";

// peft's name of a tensor as the model's: without its prefix and what wraps a module.
std::string own_name(std::string name, const std::string& prefix) {
  if (name.starts_with(prefix)) name.erase(0, prefix.size());
  for (const std::string wrapper : {".modules_to_save", ".base_layer"})
    if (const size_t at = name.find(wrapper + "."); at != std::string::npos) name.erase(at, wrapper.size());
  return modern_name(name);
}

hub::StateDict read_tensors(const fs::path& folder, const std::string& prefix) {
  const bool safe = path_exists(folder / kAdapterTensors);
  if (!safe && !path_exists(folder / kBin))
    fail_with("copy or download the adapter again", "{}: holds {} and neither {} nor {}", folder.string(),
              kAdapterConfig, kAdapterTensors, kBin);
  auto file = std::make_shared<hub::StateDict>(safe ? hub::read_safetensors(folder / kAdapterTensors)
                                                    : hub::read_torch_bin(folder / kBin));
  hub::StateDict out;
  for (hub::TensorView t : file->tensors()) {
    t.name = own_name(t.name, prefix);
    out.add(std::move(t));
  }
  out.keep(file);
  if (out.tensors().empty())
    fail("{}: holds no tensors", (folder / (safe ? kAdapterTensors : kBin)).string());
  return out;
}

fs::path last_part(const fs::path& path) {
  return path.filename().empty() ? path.parent_path().filename() : path.filename();
}

}  // namespace

std::vector<fs::path> places_of_base(const fs::path& folder, const fs::path& name) {
  std::error_code ignored;
  const fs::path whole = fs::absolute(folder, ignored);
  const fs::path above = whole.filename().empty() ? whole.parent_path().parent_path() : whole.parent_path();
  return {folder / name, name, above / last_part(name)};
}

namespace {

bool holds_model(const fs::path& folder) { return is_folder(folder) && path_exists(folder / "config.json"); }

fs::path find_base(const fs::path& folder, const PeftConfig& config) {
  const std::string& name = config.base_model_name_or_path;
  const std::string key = fmt::format("\"{}\" in {}", config.base_key(), (folder / kAdapterConfig).string());
  if (name.empty())
    fail_with("write the folder or the name of the base model there",
              "{} is {}: it is not known which base model the adapter belongs to", key,
              config.bottleneck ? "null" : "empty");
  const fs::path given = name;
  std::error_code ignored;
  for (const fs::path& path : places_of_base(folder, given)) {
    if (!holds_model(path) || fs::equivalent(path, folder, ignored)) continue;
    if (is_adapter_folder(path))
      fail_with("merge that one first: graft merge", "{}: its base {} is an adapter too", folder.string(),
                path.string());
    return path;
  }
  if (given.is_absolute() || name.starts_with("."))
    fail_with(fmt::format("write its present place as {}", key),
              "{}: the base model of this adapter is {}, and there is no such folder", folder.string(), name);
  try {
    return hub::resolve_model(config.revision.empty() ? name : name + "@" + config.revision);
  } catch (const Error& e) {
    throw Error(fmt::format("{}: the base model of this adapter is not there: {}", folder.string(), e.what()),
                e.hint().empty() ? fmt::format("write its present place as {}", key) : e.hint());
  }
}

// The hub's name of a folder in its cache (models--ORG--NAME/snapshots/REVISION); "" for others.
std::string hub_name(const fs::path& folder, std::string& revision) {
  std::string repository = folder.parent_path().parent_path().filename().string();
  if (folder.parent_path().filename() != "snapshots" || !repository.starts_with("models--")) return "";
  revision = folder.filename().string();
  repository.erase(0, 8);
  if (const size_t at = repository.find("--"); at != std::string::npos) repository.replace(at, 2, "/");
  return repository;
}

}  // namespace

void name_base(PeftConfig& config, const fs::path& base) {
  if (!is_folder(base))
    fail_with("train all parameters, or start from a checkpoint",
              "{}: adapters need a base model that can be loaded again, and this one has random weights",
              base.string());
  config.revision.clear();
  config.base_model_name_or_path = hub_name(base, config.revision);
  if (!config.base_model_name_or_path.empty()) return;
  std::error_code ignored;
  const fs::path whole = fs::weakly_canonical(base, ignored);
  config.base_model_name_or_path = (whole.empty() ? base : whole).string();
}

const char* peft_prefix(const PeftConfig& config) {
  return config.prompt ? "base_model." : "base_model.model.";
}

bool is_adapter_folder(const fs::path& folder) {
  if (!path_exists(folder / kAdapterConfig)) return false;
  for (const char* weights : {"model.safetensors", "model.safetensors.index.json", "pytorch_model.bin",
                              "pytorch_model.bin.index.json"})
    if (path_exists(folder / weights)) return false;
  return true;
}

namespace {

// Throws for a base of another kind or size than adapter_config.json states.
void check_base_of_bottleneck(const AdapterFolder& adapter) {
  const BottleneckConfig& c = *adapter.config.bottleneck;
  const ModelConfig base = ModelConfig::from_file(adapter.base / "config.json");
  const std::string hint = adapter.hint_of_base();
  if (!c.model_type.empty() && c.model_type != base.model_type())
    fail_with(hint, "{}: the adapter was made for a model of model_type \"{}\", and {} is \"{}\"",
              adapter.folder.string(), shown(c.model_type), adapter.base.string(), shown(base.model_type()));
  const Family* family = find_family_or_null(base);
  const int64_t hidden = family ? base.size_or(family->sizes.hidden_size, 0) : 0;
  if (c.hidden_size > 0 && hidden > 0 && c.hidden_size != hidden)
    fail_with(hint, "{}: the adapter was made for a hidden size of {}, and that of {} is {}",
              adapter.folder.string(), c.hidden_size, adapter.base.string(), hidden);
}

// Throws for a base of another width or depth than config.json beside the adapter states.
void check_sizes_of_base(const AdapterFolder& adapter) {
  const fs::path own = adapter.folder / "config.json";
  if (!path_exists(own)) return;
  const ModelConfig then = ModelConfig::from_file(own),
                    base = ModelConfig::from_file(adapter.base / "config.json");
  const Family* family = find_family_or_null(base);
  if (!family || find_family_or_null(then) != family) return;
  for (const auto& [what, key] : {std::pair{"a hidden size of {}", family->sizes.hidden_size},
                                  {"{} layers", family->sizes.num_layers}}) {
    const int64_t made_for = then.size_or(key, 0), found = base.size_or(key, 0);
    if (made_for > 0 && found > 0 && made_for != found)
      fail_with(adapter.hint_of_base(), "{}: the adapter was made for a model with {}, and {} has {}",
                adapter.folder.string(), fmt::format(fmt::runtime(what), made_for), adapter.base.string(),
                found);
  }
}

// Throws for a given base that is not the one of adapter_config.json: nothing else tells them apart.
void check_name_of_base(const AdapterFolder& adapter) {
  const std::string& name = adapter.config.base_model_name_or_path;
  std::string revision;
  std::error_code ignored;
  if (name.empty() || hub_name(adapter.base, revision) == name) return;
  for (const fs::path& path : places_of_base(adapter.folder, name))
    if (fs::equivalent(path, adapter.base, ignored)) return;
  if (last_part(name) == last_part(fs::weakly_canonical(adapter.base, ignored))) return;  // it was moved
  fail_with(adapter.hint_of_base(), "{}: the adapter was made for the base model {}, and not for {}",
            adapter.folder.string(), shown(name, kPathLimit), adapter.base.string());
}

// The base's config with the head of head_config.json.
ModelConfig config_of_head(const AdapterFolder& adapter, ModelConfig config) {
  const Family* family = find_family_or_null(config);
  if (adapter.head_task.empty() || !family) return config;
  const FamilyHead& head = find_head(*family, adapter.head_task, config);
  config.json()["architectures"] = Json::array({class_name(*family, *head.kind)});
  if (head.kind->has_labels && !adapter.head_labels.empty()) config.set_labels(adapter.head_labels);
  return config;
}

}  // namespace

std::string AdapterFolder::hint_of_base() const {
  if (base_was_given && !config.base_model_name_or_path.empty())
    return fmt::format("give the base model that it was trained on: {}",
                       shown(config.base_model_name_or_path, kPathLimit));
  return fmt::format("correct \"{}\" in {}", base_key(), (folder / kAdapterConfig).string());
}

AdapterFolder open_adapter(const fs::path& folder, const fs::path& base) {
  AdapterFolder out;
  out.folder = folder;
  out.base_was_given = !base.empty();
  out.config = PeftConfig::from_file(folder / kAdapterConfig);
  if (out.config.bottleneck) {
    BottleneckFiles files = read_bottleneck_files(folder, *out.config.bottleneck);
    out.tensors = std::move(files.tensors);
    const std::vector<hub::TensorView>& tensors = out.tensors.tensors();
    const auto is_invertible = [](const hub::TensorView& t) { return is_invertible_tensor(t.name); };
    out.config.bottleneck->settle_invertible(std::any_of(tensors.begin(), tensors.end(), is_invertible),
                                             (folder / kAdapterConfig).string());
    out.head_task = std::move(files.head_task);
    out.head_labels = std::move(files.head_labels);
  } else {
    out.tensors = read_tensors(folder, peft_prefix(out.config));
  }
  out.base = out.base_was_given ? base : find_base(folder, out.config);
  if (out.config.bottleneck) check_base_of_bottleneck(out);
  if (path_exists(folder / kBaseModel)) {
    const Json json = read_json(folder / kBaseModel);
    out.base_sha256 = json.value("sha256", "");
    out.language_sha256 = json.value("lang_adapter_sha256", "");
    const std::string type = json.value("model_type", ""),
                      found = ModelConfig::from_file(out.base / "config.json").model_type();
    if (!type.empty() && type != found)
      fail_with(out.hint_of_base(),
                "{}: the adapter was trained on a model of model_type \"{}\", and {} is \"{}\"",
                folder.string(), shown(type), out.base.string(), shown(found));
  }
  if (out.base_sha256.empty() && out.base_was_given) check_name_of_base(out);
  check_sizes_of_base(out);
  return out;
}

ModelConfig config_of_adapter(const AdapterFolder& adapter) {
  const fs::path own = adapter.folder / "config.json";
  if (path_exists(own)) return ModelConfig::from_file(own);
  ModelConfig config = ModelConfig::from_file(adapter.base / "config.json");
  if (adapter.config.bottleneck) return config_of_head(adapter, std::move(config));
  const std::string task = task_of_peft(adapter.config.task_type);
  const Family* family = find_family_or_null(config);
  if (task.empty() || !family) return config;
  const FamilyHead& head = find_head(*family, task, config);
  config.json()["architectures"] = Json::array({class_name(*family, *head.kind)});
  if (!head.kind->has_labels) return config;
  // The last tensor of a head has a row for each label.
  int64_t labels = 0;
  for (const hub::TensorView& t : adapter.tensors.tensors())
    if (!is_backbone(*family, t.name) && t.name.ends_with(".weight") && t.shape.size() == 2 &&
        t.name.find(".lora_") == std::string::npos &&
        (labels == 0 || t.name.find("out_proj") != std::string::npos || t.name.starts_with("classifier") ||
         t.name.starts_with("score")))
      labels = t.shape[0];
  if (labels > 0 && config.label_names().size() != static_cast<size_t>(labels)) {
    std::vector<std::string> names;
    for (int64_t i = 0; i < labels; ++i) names.push_back("LABEL_" + std::to_string(i));
    config.set_labels(names);
  }
  return config;
}

fs::path tokenizer_folder(const fs::path& folder, const fs::path& base) {
  if (!is_adapter_folder(folder) || path_exists(folder / "tokenizer.json")) return folder;
  for (const char* name : kTokenizerFiles)
    if (path_exists(folder / name)) return folder;
  return base.empty() ? find_base(folder, PeftConfig::from_file(folder / kAdapterConfig)) : base;
}

hub::StateDict base_tensors(const AdapterFolder& adapter, const hub::StateDict& base) {
  hub::StateDict out;
  for (const hub::TensorView& t : base.tensors())
    if (!adapter.tensors.find(modern_name(t.name))) out.add(t);
  return out;
}

}  // namespace graft::models
