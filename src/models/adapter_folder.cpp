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
#include "models/registry.h"
#include "models/state.h"

namespace graft::models {
namespace fs = std::filesystem;

using engine::Parameter;

namespace {

constexpr const char *kConfig = "adapter_config.json", *kTensors = "adapter_model.safetensors",
                     *kBin = "adapter_model.bin", *kBase = "base_model.json";

// peft's name of a tensor as the model's: without "base_model.model." and what wraps a module.
std::string own_name(std::string name) {
  const std::string prefix = "base_model.model.";
  if (name.starts_with(prefix)) name.erase(0, prefix.size());
  for (const std::string wrapper : {".modules_to_save", ".base_layer"})
    if (const size_t at = name.find(wrapper + "."); at != std::string::npos) name.erase(at, wrapper.size());
  return modern_name(name);
}

hub::StateDict read_tensors(const fs::path& folder) {
  const bool safe = path_exists(folder / kTensors);
  if (!safe && !path_exists(folder / kBin))
    fail_with("copy or download the adapter again", "{}: holds {} and neither {} nor {}", folder.string(),
              kConfig, kTensors, kBin);
  auto file = std::make_shared<hub::StateDict>(safe ? hub::read_safetensors(folder / kTensors)
                                                    : hub::read_torch_bin(folder / kBin));
  hub::StateDict out;
  for (hub::TensorView t : file->tensors()) {
    t.name = own_name(t.name);
    out.add(std::move(t));
  }
  out.keep(file);
  if (out.tensors().empty()) fail("{}: holds no tensors", (folder / (safe ? kTensors : kBin)).string());
  return out;
}

bool holds_model(const fs::path& folder) { return is_folder(folder) && path_exists(folder / "config.json"); }

fs::path find_base(const fs::path& folder, const PeftConfig& config) {
  const std::string& name = config.base_model_name_or_path;
  const std::string key = fmt::format("\"base_model_name_or_path\" in {}", (folder / kConfig).string());
  if (name.empty()) fail_with("write the folder or the name of the base model there", "{} is empty", key);
  const fs::path given = name,
                 last = given.filename().empty() ? given.parent_path().filename() : given.filename();
  std::error_code ignored;
  const fs::path whole = fs::absolute(folder, ignored);
  const fs::path above = whole.filename().empty() ? whole.parent_path().parent_path() : whole.parent_path();
  for (const fs::path& path : {folder / given, given, above / last}) {
    if (!holds_model(path) || fs::equivalent(path, folder, ignored)) continue;
    if (is_adapter_folder(path))
      fail_with("merge that one first: graft merge --adapter", "{}: its base {} is an adapter too",
                folder.string(), path.string());
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

std::string tensor_shape(const std::vector<int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
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

bool is_adapter_folder(const fs::path& folder) {
  if (!path_exists(folder / kConfig)) return false;
  for (const char* weights : {"model.safetensors", "model.safetensors.index.json", "pytorch_model.bin",
                              "pytorch_model.bin.index.json"})
    if (path_exists(folder / weights)) return false;
  return true;
}

AdapterFolder open_adapter(const fs::path& folder) {
  AdapterFolder out;
  out.folder = folder;
  out.config = PeftConfig::from_file(folder / kConfig);
  out.tensors = read_tensors(folder);
  out.base = find_base(folder, out.config);
  if (path_exists(folder / kBase)) {
    const Json json = read_json(folder / kBase);
    out.base_sha256 = json.value("sha256", "");
    out.base_model_type = json.value("model_type", "");
  }
  return out;
}

ModelConfig config_of_adapter(const AdapterFolder& adapter) {
  const fs::path own = adapter.folder / "config.json";
  if (path_exists(own)) return ModelConfig::from_file(own);
  ModelConfig config = ModelConfig::from_file(adapter.base / "config.json");
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

fs::path tokenizer_folder(const fs::path& folder) {
  if (!is_adapter_folder(folder) || path_exists(folder / "tokenizer.json")) return folder;
  for (const char* name : kTokenizerFiles)
    if (path_exists(folder / name)) return folder;
  return find_base(folder, PeftConfig::from_file(folder / kConfig));
}

hub::StateDict base_tensors(const AdapterFolder& adapter, const hub::StateDict& base) {
  hub::StateDict out;
  for (const hub::TensorView& t : base.tensors())
    if (!adapter.tensors.find(modern_name(t.name))) out.add(t);
  return out;
}

namespace {

// The parameter of a name, with or without the base prefix.
Parameter* find_parameter(State& state, const std::string& name) {
  Parameter* p = state.parameters.find(name);
  return p ? p : state.parameters.find(other_backbone_name(*state.family, name));
}

// The ending of an adapter's tensor, "" for other tensors.
std::string adapter_part(const std::string& name) {
  for (const char* part : {".lora_A.weight", ".lora_B.weight", ".lora_magnitude_vector", ".ia3_l"})
    if (name.ends_with(part)) return part;
  return "";
}

// The matrix that has the adapter with this tensor.
Parameter& matrix_of(State& state, const AdapterFolder& adapter, const hub::TensorView& t,
                     const std::string& part) {
  const std::string module = t.name.substr(0, t.name.size() - part.size());
  Parameter* p = find_parameter(state, module + ".weight");
  if (p && p->is_linear) return *p;
  std::vector<std::string> known;
  for (const auto& [name, matrix] : adaptable_matrices(state)) known.push_back(name);
  const std::string near = nearest_name(module, known);
  fail_with(near.empty() ? fmt::format("the base model in {} must be the one that the adapter was trained on",
                                       adapter.base.string())
                         : fmt::format("the nearest is {}", near),
            "{}: the adapter is for the module {}, which {} in {} does not have", t.file, shown(module),
            state.config.model_type(), adapter.base.string());
}

void check_shape(const AdapterFolder& adapter, const hub::TensorView& t, const std::vector<int64_t>& wanted) {
  if (t.shape == wanted) return;
  fail_with(fmt::format("the base model must be the one that the adapter was trained on; "
                        "\"base_model_name_or_path\" in {} names it",
                        (adapter.folder / kConfig).string()),
            "{}: tensor {} is {}, but for the model in {} it must be {}", t.file, shown(t.name),
            tensor_shape(t.shape), adapter.base.string(), tensor_shape(wanted));
}

// Declares the adapters that the file has tensors of.
void declare_adapters(State& state, const AdapterFolder& folder) {
  const PeftConfig& config = folder.config;
  for (const hub::TensorView& t : folder.tensors.tensors()) {
    const std::string part = adapter_part(t.name);
    if (part != ".lora_A.weight" && part != ".ia3_l") continue;
    Parameter& matrix = matrix_of(state, folder, t, part);
    if (part == ".ia3_l") {
      if (t.shape.size() != 2 || t.shape[0] * t.shape[1] != t.num_elements() ||
          std::min(t.shape[0], t.shape[1]) != 1)
        fail("{}: tensor {} is {}; factors are [n, 1] or [1, n]", t.file, shown(t.name),
             tensor_shape(t.shape));
      const std::string module = module_name(state, matrix);
      const auto& forward = config.feedforward_modules;
      state.parameters.adapt_by_factors(matrix,
                                        std::any_of(forward.begin(), forward.end(),
                                                    [&](const auto& name) { return selects(name, module); }));
      continue;
    }
    if (t.shape.size() != 2 || t.shape[0] < 1)
      fail("{}: tensor {} is {}, which is no adapter of a linear layer", t.file, shown(t.name),
           tensor_shape(t.shape));
    engine::AdapterOptions options;
    options.rank = t.shape[0];
    options.scale = static_cast<float>(config.scaling(module_name(state, matrix), options.rank));
    options.dropout = static_cast<float>(config.lora_dropout);
    options.magnitude = config.use_dora;
    state.parameters.adapt(matrix, options);
  }
}

// Fills a parameter from its tensor; the load report then does not count it as new.
void load_tensor(State& state, const AdapterFolder& folder, const hub::TensorView& t, Parameter& p) {
  check_shape(folder, t, stored_shape(p));
  load_values(t, p, state.parameters.write_value(p).data());
  if (!p.of_adapter) p.with_adapter = true;
  std::erase(state.report.missing, p.name);
}

void check_base(const State& state, const AdapterFolder& folder) {
  const std::string& type = folder.base_model_type;
  if (!type.empty() && type != state.config.model_type())
    fail_with(fmt::format("correct \"base_model_name_or_path\" in {}", (folder.folder / kConfig).string()),
              "{}: the adapter was trained on a model of model_type \"{}\", and {} is \"{}\"",
              folder.folder.string(), shown(type), folder.base.string(), state.config.model_type());
  if (folder.base_sha256.empty() || folder.base_sha256 == state.adapter->base_sha256) return;
  fail_with(fmt::format(
                "correct \"base_model_name_or_path\" in {}, or remove {} to use the adapter with this model",
                (folder.folder / kConfig).string(), (folder.folder / kBase).string()),
            "{}: the adapter was trained on other weights than those of {}: its results would be wrong",
            folder.folder.string(), folder.base.string());
}

}  // namespace

void load_adapter(State& state, const AdapterFolder& folder) {
  auto adapter = std::make_unique<ModelAdapter>();
  state.parameters.reopen();
  declare_adapters(state, folder);
  state.parameters.allocate();
  for (Parameter& p : state.parameters.parameters())
    if (p.adapter) adapter->matrices.push_back(&p);
  if (adapter->matrices.empty())
    fail("{}: holds no tensor of an adapter (lora_A, ia3_l)", folder.tensors.tensors().front().file);
  std::set<const Parameter*> filled;
  for (const hub::TensorView& t : folder.tensors.tensors()) {
    const std::string part = adapter_part(t.name);
    Parameter* p = find_parameter(state, t.name);
    if (!p && !part.empty()) matrix_of(state, folder, t, part);
    if (!p && part.empty() && !state.head->is_bare) {
      state.report.unexpected.push_back(t.name);
    } else if (p) {
      load_tensor(state, folder, t, *p);
      filled.insert(p);
    }
  }
  for (const Parameter& p : state.parameters.parameters())
    if (p.of_adapter && !filled.count(&p))
      fail_with("copy or download the adapter again", "{}: tensor {} is missing", folder.folder.string(),
                p.name);
  adapter->config = folder.config;
  name_base(adapter->config, folder.base);
  state.adapter = std::move(adapter);
  state.adapter->base_sha256 = base_sha256(state);
  check_base(state, folder);
  state.parameters.touch_values();
}

namespace {

// A part of an adapter whose initial product was taken out of the matrix, as that of an adapter of twice the
// rank and the whole matrix: b a - b0 a0 = [b, -b0] [a; a0]. Null for other parameters.
struct Doubled {
  const Parameter* matrix = nullptr;
  bool is_a = false;
};
Doubled doubled(const State& state, const Parameter& p) {
  for (const auto& [matrix, product] : state.adapter->taken_out)
    if (&p == matrix->adapter.a || &p == matrix->adapter.b) return {matrix, &p == matrix->adapter.a};
  return {};
}

std::vector<float> doubled_values(const State& state, const Parameter& p, const Doubled& d) {
  const engine::HostRead x = state.parameters.read_value(p);
  const ModelAdapter::Product& product = state.adapter->taken_out.at(d.matrix);
  std::vector<float> out(x.begin(), x.end());
  if (d.is_a) {
    out.insert(out.end(), product.a.begin(), product.a.end());
    return out;
  }
  const int64_t rank = p.cols();
  out.clear();
  for (int64_t r = 0; r < p.rows(); ++r) {
    for (int64_t k = 0; k < rank; ++k) out.push_back(x[r * rank + k]);
    for (int64_t k = 0; k < rank; ++k) out.push_back(-product.b[static_cast<size_t>(r * rank + k)]);
  }
  return out;
}

std::vector<int64_t> doubled_shape(const Parameter& p, const Doubled& d) {
  return d.is_a ? std::vector<int64_t>{2 * p.rows(), p.cols()} : std::vector<int64_t>{p.rows(), 2 * p.cols()};
}

}  // namespace

WeightsToWrite adapter_tensors_to_write(const State& state, DType dtype) {
  WeightsToWrite out;
  for (const Parameter& p : state.parameters.parameters()) {
    if (!p.of_adapter && (!p.with_adapter || is_separate_module(p))) continue;
    const std::string name = "base_model.model." + saved_name(state, p);
    if (const Doubled d = doubled(state, p); d.matrix) {
      out.made.push_back(doubled_values(state, p, d));
      out.tensors.push_back({name, doubled_shape(p, d), dtype, out.made.back().data(), false});
      continue;
    }
    out.values.push_back(state.parameters.read_value(p));
    out.tensors.push_back({name, stored_shape(p), dtype, out.values.back().data(), p.stored_transposed});
  }
  return out;
}

Json adapter_config_to_write(const State& state) {
  PeftConfig config = state.adapter->config;
  if (!state.adapter->taken_out.empty()) {  // the scale stays
    config.r *= 2;
    config.lora_alpha *= config.use_rslora ? std::sqrt(2.0) : 2;
  }
  return config.json();
}

Json base_model_to_write(const State& state) {
  return {{"model_type", state.config.model_type()}, {"sha256", state.adapter->base_sha256}};
}

void write_adapter(const fs::path& folder, const WeightsToWrite& weights, const Json& config,
                   const Json& base_model) {
  hub::write_safetensors(folder / kTensors, weights.tensors);
  write_json(folder / kConfig, config);
  write_json(folder / kBase, base_model);
}

void restore_adapter(State& state, const fs::path& folder) {
  const hub::StateDict dict = hub::read_safetensors(folder / kTensors);
  std::vector<std::pair<const hub::TensorView*, Parameter*>> found;
  for (Parameter& p : state.parameters.parameters()) {
    if (!p.of_adapter && (!p.with_adapter || is_separate_module(p))) continue;
    const hub::TensorView* t = dict.find("base_model.model." + saved_name(state, p));
    if (!t) fail("{}: the tensor of {} is missing", folder.string(), p.name);
    if (t->shape != stored_shape(p) || t->dtype != DType::f32)
      fail("{}: tensor {} is {} {} and this model has F32 {}", folder.string(), t->name, dtype_name(t->dtype),
           tensor_shape(t->shape), tensor_shape(stored_shape(p)));
    found.emplace_back(t, &p);
  }
  const Json base = read_json(folder / kBase);
  if (base.value("sha256", "") != state.adapter->base_sha256)
    fail_with("resume with the base model of that run", "{}: the run trained adapters of other weights",
              folder.string());
  for (const auto& [t, p] : found) {
    const engine::HostWrite out = state.parameters.write_value(*p);
    if (!doubled(state, *p).matrix) {
      load_values(*t, *p, out.data());
      continue;
    }
    std::vector<float> both(static_cast<size_t>(2 * p->size));
    hub::copy_to_float(*t, both.data());
    const int64_t step = t->shape[1];  // the first rows of [a; a0], the first columns of [b, -b0]
    for (int64_t r = 0; r < p->rows(); ++r)
      std::copy_n(both.data() + r * step, p->cols(), out.data() + r * p->cols());
  }
  state.parameters.touch_values();
}

}  // namespace graft::models
