#include "models/bottleneck_folder.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <memory>
#include <utility>

#include "base/error.h"
#include "base/folder.h"
#include "base/log.h"
#include "base/shown.h"
#include "hub/torch_bin.h"
#include "models/registry.h"
#include "models/state.h"

namespace graft::models {
namespace fs = std::filesystem;

namespace {

// The files of adapters 1.3, of adapter-transformers, and of exports of the latter.
constexpr std::array<const char*, 3> kTensorFiles = {kBottleneckTensors, "pytorch_adapter.safetensors",
                                                     "pytorch_adapter.bin"};
constexpr std::array<const char*, 3> kHeadFiles = {kHeadTensors, "pytorch_model_head.safetensors",
                                                   "pytorch_model_head.bin"};
// The format that graft writes. A file without "version" is of a release before 3, whose "gelu" is another
// one.
constexpr const char* kVersion = "adapters.1.3.0";

// Names of modules before release 3 of adapter-transformers (AdapterLoader.legacy_weights_mapping).
constexpr std::array<std::pair<const char*, const char*>, 5> kOlderModules = {
    {{"attention_text_task_adapters", "adapters"},
     {"attention_text_lang_adapters", "adapters"},
     {"layer_text_task_adapters", "adapters"},
     {"layer_text_lang_adapters", "adapters"},
     {"invertible_lang_adapters", "invertible_adapters"}}};

// The norm before an adapter is one module under two names, and files have both.
constexpr const char *kNormBefore = ".adapter_norm_before.", *kFirstOfDown = ".adapter_down.0.";

std::string today_name(std::string name) {
  for (const auto& [older, now] : kOlderModules)
    if (const size_t at = name.find(older); at != std::string::npos)
      name.replace(at, std::string_view(older).size(), now);
  return name;
}

// The text of a key; "" where it is null or missing.
std::string text_or_none(const Json& json, const char* key) {
  const auto it = json.find(key);
  return it != json.end() && it->is_string() ? it->get<std::string>() : "";
}

template <size_t n>
fs::path first_of(const fs::path& folder, const std::array<const char*, n>& names) {
  for (const char* name : names)
    if (path_exists(folder / name)) return folder / name;
  return {};
}

std::shared_ptr<hub::StateDict> read_file_of_tensors(const fs::path& file) {
  return std::make_shared<hub::StateDict>(file.extension() == ".bin" ? hub::read_torch_bin(file)
                                                                     : hub::read_safetensors(file));
}

void add_adapter_tensors(hub::StateDict& out, const fs::path& file, const BottleneckConfig& config) {
  const auto dict = read_file_of_tensors(file);
  const std::string part = "adapters." + config.name + ".";
  size_t added = 0;
  for (hub::TensorView t : dict->tensors()) {
    if (const size_t at = t.name.find(kNormBefore); at != std::string::npos) {
      t.name.replace(at, std::string_view(kNormBefore).size(), kFirstOfDown);
      if (dict->find(t.name)) continue;
    }
    t.name = today_name(t.name);
    if (!is_bottleneck_tensor(t.name) || t.name.find(part) == std::string::npos)
      fail_with("correct \"name\" in adapter_config.json, or download the adapter again",
                "{}: tensor {} does not belong to the adapter \"{}\" that adapter_config.json names",
                file.string(), shown(t.name), shown(config.name));
    out.add(std::move(t));
    ++added;
  }
  if (added == 0) fail_with("download the adapter again", "{}: holds no tensors", file.string());
  out.keep(dict);
}

// A head of the library's own classes ("flexible"), whose modules have numbers, and the names that they have
// in the reference's class (adapters/head_utils.py).
struct FlexHead {
  const char* head_type;
  const char* task;
  const char* model_types;  // between spaces; "" for all
  int64_t layers;
  const char* activation;  // between two layers
  bool use_pooler;
  std::vector<std::pair<int, const char*>> modules;
};

const std::vector<FlexHead>& flex_heads() {
  static const std::vector<FlexHead> table = {
      {"classification", "sequence-classification", " bert ", 1, "", true, {{1, "classifier"}}},
      {"classification",
       "sequence-classification",
       " roberta xlm-roberta ",
       2,
       "tanh",
       false,
       {{1, "classifier.dense"}, {4, "classifier.out_proj"}}},
      {"classification",
       "sequence-classification",
       " electra ",
       2,
       "gelu",
       false,
       {{1, "classifier.dense"}, {4, "classifier.out_proj"}}},
      {"classification",
       "sequence-classification",
       " distilbert ",
       2,
       "relu",
       false,
       {{1, "pre_classifier"}, {4, "classifier"}}},
      {"tagging", "token-classification", "", 1, "", false, {{1, "classifier"}}},
      {"question_answering", "question-answering", "", 1, "", false, {{1, "qa_outputs"}}}};
  return table;
}

// Null where graft has no such head.
const FlexHead* find_flex_head(const Json& config, const std::string& model_type) {
  const std::string type = text_or_none(config, "head_type"),
                    activation = text_or_none(config, "activation_function");
  const auto number = config.find("layers"), pooled = config.find("use_pooler");
  const int64_t layers = number != config.end() && number->is_number_integer() ? number->get<int64_t>() : 2;
  const bool use_pooler = pooled != config.end() && *pooled == Json(true);
  for (const FlexHead& head : flex_heads()) {
    const std::string types = head.model_types;
    if (type == head.head_type &&
        (types.empty() || types.find(" " + model_type + " ") != std::string::npos) && layers == head.layers &&
        (layers == 1 || activation == head.activation) &&
        (head.task != std::string("sequence-classification") || use_pooler == head.use_pooler))
      return &head;
  }
  return nullptr;
}

std::vector<std::string> labels_of(const Json& config, const Json& file) {
  for (const Json* from : {&config, &file}) {
    if (!from->is_object()) continue;
    const auto it = from->find("label2id");
    if (it == from->end() || !it->is_object() || it->empty()) continue;
    std::vector<std::string> names(it->size());
    for (const auto& [label, id] : it->items()) {
      if (!id.is_number_integer() || id.get<int64_t>() < 0 ||
          id.get<int64_t>() >= static_cast<int64_t>(names.size()))
        return {};
      names[static_cast<size_t>(id.get<int64_t>())] = label;
    }
    return names;
  }
  return {};
}

void add_static_head(BottleneckFiles& out, const Json& json, const fs::path& file) {
  const ModelConfig as_config(Json{{"model_type", text_or_none(json, "model_type")},
                                   {"architectures", Json::array({text_or_none(json, "model_class")})}},
                              file.string());
  if (find_family_or_null(as_config)) out.head_task = task_of_config(as_config);
}

void add_head(BottleneckFiles& out, const fs::path& folder, const BottleneckConfig& config) {
  const fs::path file = first_of(folder, kHeadFiles), config_file = folder / kHeadConfig;
  if (file.empty()) return;
  if (!path_exists(config_file))
    fail_with("download the adapter again", "{}: holds {} and no {}", folder.string(),
              file.filename().string(), kHeadConfig);
  const Json json = read_json(config_file);
  if (!json.is_object()) fail("{}: must be a json object", config_file.string());
  const auto it = json.find("config");
  const Json head_config = it == json.end() ? Json() : *it;
  out.head_labels = labels_of(head_config, json);
  const FlexHead* flex = nullptr;
  if (head_config.is_object()) {
    flex = find_flex_head(head_config, config.model_type);
    if (!flex)
      return log_warning(
          "{}: its head (head_type {}, {} layers) is not that of a class of the reference for {}; the "
          "adapter is "
          "used without it",
          config_file.string(), shown(text_or_none(head_config, "head_type")), head_config.value("layers", 2),
          config.model_type);
    out.head_task = flex->task;
  } else {
    add_static_head(out, json, config_file);
  }
  const auto dict = read_file_of_tensors(file);
  const std::string prefix = "heads." + text_or_none(json, "name") + ".";
  for (hub::TensorView t : dict->tensors()) {
    for (const auto& [number, module] : flex ? flex->modules : std::vector<std::pair<int, const char*>>()) {
      const std::string before = prefix + std::to_string(number) + ".";
      if (t.name.starts_with(before)) t.name = module + t.name.substr(before.size() - 1);
    }
    if (flex && t.name.starts_with("heads."))
      fail_with("download the adapter again", "{}: tensor {} is not one of the head that {} describes",
                file.string(), shown(t.name), config_file.string());
    out.tensors.add(std::move(t));
  }
  out.tensors.keep(dict);
}

}  // namespace

std::string second_name_of_norm(const std::string& name, const BottleneckConfig& config) {
  const size_t at = name.find(kFirstOfDown);
  if (!config.ln_before || at == std::string::npos) return "";
  return std::string(name).replace(at, std::string_view(kFirstOfDown).size(), kNormBefore);
}

bool is_invertible_tensor(const std::string& name) {
  return name.find("invertible_adapters.") != std::string::npos;
}

bool is_bottleneck_tensor(const std::string& name) {
  return name.find(".adapters.") != std::string::npos || is_invertible_tensor(name);
}

BottleneckFiles read_bottleneck_files(const fs::path& folder, const BottleneckConfig& config) {
  const fs::path file = first_of(folder, kTensorFiles);
  if (file.empty())
    fail_with("copy or download the adapter again",
              "{}: holds an adapter_config.json of AdapterHub and none of {}", folder.string(),
              fmt::join(kTensorFiles, ", "));
  BottleneckFiles out;
  add_adapter_tensors(out.tensors, file, config);
  add_head(out, folder, config);
  return out;
}

std::map<std::string, int64_t> bottleneck_sizes(const hub::StateDict& tensors,
                                                const BottleneckConfig& config) {
  std::map<std::string, int64_t> out;
  const std::string ending = config.ln_before ? ".adapter_down.1.weight" : ".adapter_down.0.weight";
  for (const hub::TensorView& t : tensors.tensors())
    if (t.name.ends_with(ending) && t.shape.size() == 2 && t.shape[0] > 0) out[t.name] = t.shape[0];
  return out;
}

Json bottleneck_config_to_write(const State& state, const BottleneckConfig& config, const std::string& base,
                                const std::string& revision) {
  Json out = {{"config", config.json()},
              {"hidden_size", state.config.size_or(state.family->sizes.hidden_size, 0)},
              {"model_class", class_name(*state.family, *state.head)},
              {"model_name", base},
              {"model_type", state.config.model_type()},
              {"name", config.name}};
  if (!revision.empty()) out["revision"] = revision;
  out["version"] = kVersion;
  return out;
}

Json head_config_to_write(const State& state) {
  Json out = {{"config", nullptr}, {"hidden_size", state.config.size_or(state.family->sizes.hidden_size, 0)}};
  if (state.head->has_labels) {
    const std::vector<std::string> labels = state.config.label_names();
    Json ids = Json::object();
    for (size_t i = 0; i < labels.size(); ++i) ids[labels[i]] = i;
    out["label2id"] = ids;
    out["num_labels"] = labels.size();
  }
  out["model_class"] = class_name(*state.family, *state.head);
  out["model_type"] = state.config.model_type();
  out["name"] = nullptr;
  out["version"] = kVersion;
  return out;
}

}  // namespace graft::models
