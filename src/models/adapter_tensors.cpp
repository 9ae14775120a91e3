// The tensors of a folder of adapters: into a model, and from it.
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "base/error.h"
#include "base/folder.h"
#include "base/nearest.h"
#include "base/shown.h"
#include "models/adapter_folder.h"
#include "models/bottleneck.h"
#include "models/bottleneck_folder.h"
#include "models/language_adapter.h"
#include "models/registry.h"
#include "models/state.h"
#include "models/virtual_tokens.h"

namespace graft::models {
namespace fs = std::filesystem;

using engine::Parameter;

namespace {

std::string tensor_shape(const std::vector<int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

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
  fail_with(
      fmt::format("the base model must be the one that the adapter was trained on; \"{}\" in {} names it",
                  adapter.base_key(), (adapter.folder / kAdapterConfig).string()),
      "{}: tensor {} is {}, but for the model in {} it must be {}", t.file, shown(t.name),
      tensor_shape(t.shape), adapter.base.string(), tensor_shape(wanted));
}

// Throws where the file holds another adapter than adapter_config.json states: peft would scale it in another
// way, or leave it out.
void check_stated(const State& state, const AdapterFolder& folder, const hub::TensorView& t,
                  const std::string& module) {
  const PeftConfig& config = folder.config;
  const char* hint = "the two files do not belong together: copy or download the adapter again";
  if ((config.peft_type == PeftType::ia3) != t.name.ends_with(".ia3_l"))
    fail_with(hint, "{}: tensor {} is not of the method that \"peft_type\" in {} states ({})", t.file,
              shown(t.name), kAdapterConfig, config.peft_type == PeftType::ia3 ? "IA3" : "LORA");
  const auto& layers = config.layers_to_transform;
  if (const int64_t layer = layer_of(state, module);
      !layers.empty() && std::find(layers.begin(), layers.end(), layer) == layers.end())
    fail_with(hint, "{}: tensor {} adapts layer {}, which \"layers_to_transform\" in {} does not name ({})",
              t.file, shown(t.name), layer, kAdapterConfig, fmt::join(layers, ", "));
  if (config.peft_type == PeftType::lora && t.shape[0] != config.rank(module))
    fail_with(hint, "{}: tensor {} has rank {}, and {} states {}", t.file, shown(t.name), t.shape[0],
              kAdapterConfig, config.rank(module));
  const auto& targets = config.target_modules;
  const auto may_select = [&](const std::string& target) {  // all-linear, a regular expression
    return target == "all-linear" || target.find_first_of("+?^$()[]|\\") != std::string::npos ||
           selects(target, module);
  };
  if (targets.empty() || std::any_of(targets.begin(), targets.end(), may_select)) return;
  fail_with(hint, "{}: tensor {} adapts a module that \"target_modules\" in {} does not name ({})", t.file,
            shown(t.name), kAdapterConfig, fmt::join(targets, ", "));
}

// A tensor of a bottleneck adapter for which the model has no parameter.
[[noreturn]] void fail_without_bottleneck(const State& state, const AdapterFolder& folder,
                                          const hub::TensorView& t) {
  fail_with(
      fmt::format("the base model must be the one that the adapter was trained on; \"{}\" in {} names it",
                  folder.base_key(), (folder.folder / kAdapterConfig).string()),
      "{}: tensor {} has no place in {} in {}, whose layers have adapters as \"config\" in {} states", t.file,
      shown(t.name), state.config.model_type(), folder.base.string(), kAdapterConfig);
}

}  // namespace

void declare_adapters(State& state, const AdapterFolder& folder) {
  const PeftConfig& config = folder.config;
  if (config.bottleneck) {
    std::map<std::string, int64_t> sizes;
    for (const auto& [name, size] : bottleneck_sizes(folder.tensors, *config.bottleneck)) {
      sizes[name] = size;
      sizes[other_backbone_name(*state.family, name)] = size;  // with and without the base prefix
    }
    return declare_bottlenecks(state, *config.bottleneck, sizes);
  }
  if (config.prompt)
    return declare_virtual_tokens(state, config.prompt->num_virtual_tokens, config.prompt->prefix);
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
      check_stated(state, folder, t, module);
      const auto& forward = config.feedforward_modules;
      state.parameters.adapt_by_factors(matrix,
                                        std::any_of(forward.begin(), forward.end(),
                                                    [&](const auto& name) { return selects(name, module); }));
      continue;
    }
    if (t.shape.size() != 2 || t.shape[0] < 1)
      fail("{}: tensor {} is {}, which is no adapter of a linear layer", t.file, shown(t.name),
           tensor_shape(t.shape));
    const std::string module = module_name(state, matrix);
    check_stated(state, folder, t, module);
    engine::AdapterOptions options;
    options.rank = t.shape[0];
    options.scale = static_cast<float>(config.scaling(module, options.rank));
    options.dropout = static_cast<float>(config.lora_dropout);
    options.magnitude = config.use_dora;
    state.parameters.adapt(matrix, options);
  }
}

namespace {

// Fills a parameter from its tensor; the load report then does not count it as new.
void load_tensor(State& state, const AdapterFolder& folder, const hub::TensorView& t, Parameter& p) {
  check_shape(folder, t, stored_shape(p));
  load_values(t, p, state.parameters.write_value(p).data());
  if (!p.of_adapter) p.with_adapter = true;
  std::erase(state.report.missing, p.name);
}

// Throws for a parameter of an adapter that no tensor has filled.
void check_filled(const State& state, const AdapterFolder& folder, const std::set<const Parameter*>& filled) {
  for (const Parameter& p : state.parameters.parameters())
    if (p.of_adapter && !filled.count(&p))
      fail_with("copy or download the adapter again", "{}: tensor {} is missing", folder.folder.string(),
                p.name);
}

}  // namespace

void check_base(const AdapterFolder& folder, const std::string& base_sha256) {
  if (folder.base_sha256.empty() || folder.base_sha256 == base_sha256) return;
  fail_with(
      fmt::format("{}; to use it with this model all the same, name the model as \"{}\" in {} and remove {}",
                  folder.hint_of_base(), folder.base_key(), (folder.folder / kAdapterConfig).string(),
                  kBaseModel),
      "{}: the adapter was trained on other weights than those of {}: its results would be wrong",
      folder.folder.string(), folder.base.string());
}

void load_bottlenecks(State& state, const AdapterFolder& folder) {
  std::set<const Parameter*> filled;
  for (const hub::TensorView& t : folder.tensors.tensors()) {
    Parameter* p = find_parameter(state, t.name);
    if (!p) fail_without_bottleneck(state, folder, t);
    load_tensor(state, folder, t, *p);
    filled.insert(p);
  }
  check_filled(state, folder, filled);
}

void load_adapter(State& state, const AdapterFolder& folder, bool new_head) {
  auto adapter = std::make_unique<ModelAdapter>();
  state.parameters.reopen();
  declare_adapters(state, folder);
  state.parameters.allocate();
  for (Parameter& p : state.parameters.parameters())
    if (p.adapter) adapter->matrices.push_back(&p);
  if (adapter->matrices.empty() && !folder.config.bottleneck && !folder.config.prompt)
    fail("{}: holds no tensor of an adapter (lora_A, ia3_l)", folder.tensors.tensors().front().file);
  std::set<const Parameter*> filled;
  for (const hub::TensorView& t : folder.tensors.tensors()) {
    const std::string part = adapter_part(t.name);
    Parameter* p = find_parameter(state, t.name);
    if (!p && !part.empty()) matrix_of(state, folder, t, part);
    if (!p && folder.config.bottleneck && is_bottleneck_tensor(t.name))
      fail_without_bottleneck(state, folder, t);
    if (!p && part.empty() && !state.head->is_bare) {
      state.report.unexpected.push_back(t.name);
    } else if (p) {
      const bool of_head = !p->of_adapter && !is_backbone(*state.family, p->name);
      if (of_head && t.shape != stored_shape(*p)) {
        if (!new_head)
          fail_with("--ignore_mismatched_sizes true replaces the head by a new one",
                    "{}: tensor {} is {} but the model needs {}", t.file, shown(t.name),
                    tensor_shape(t.shape), tensor_shape(stored_shape(*p)));
        p->with_adapter = true;
        continue;
      }
      load_tensor(state, folder, t, *p);
      filled.insert(p);
    }
  }
  for (Parameter& p : state.parameters.parameters()) {  // a head that neither folder has is trained with them
    const auto& missing = state.report.missing;
    if (!p.of_adapter && !p.unused && std::find(missing.begin(), missing.end(), p.name) != missing.end())
      p.with_adapter = true;
  }
  check_filled(state, folder, filled);
  adapter->config = folder.config;
  name_base(adapter->config, folder.base);
  state.adapter = std::move(adapter);
  state.adapter->base_sha256 = base_sha256(state);
  check_base(folder, state.adapter->base_sha256);
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

namespace {

bool is_saved_with_adapter(const Parameter& p) {
  return p.of_adapter || (p.with_adapter && !is_separate_module(p));
}

void add_parameter(WeightsToWrite& out, const State& state, const Parameter& p, std::string name,
                   DType dtype) {
  out.values.push_back(state.parameters.read_value(p));
  out.tensors.push_back(
      {std::move(name), stored_shape(p), dtype, out.values.back().data(), p.stored_transposed});
}

std::string name_in_peft(const State& state, const Parameter& p) {
  if (p.name == kPromptEmbeddings) return p.name;
  return peft_prefix(state.adapter->config) + saved_name(state, p);
}

WeightsToWrite peft_tensors_to_write(const State& state, DType dtype) {
  WeightsToWrite out;
  for (const Parameter& p : state.parameters.parameters()) {
    if (!is_saved_with_adapter(p)) continue;
    const std::string name = name_in_peft(state, p);
    if (const Doubled d = doubled(state, p); d.matrix) {
      out.made.push_back(doubled_values(state, p, d));
      out.tensors.push_back({name, doubled_shape(p, d), dtype, out.made.back().data(), false});
      continue;
    }
    add_parameter(out, state, p, name, dtype);
  }
  return out;
}

Json peft_config_to_write(const State& state) {
  PeftConfig config = state.adapter->config;
  if (!state.adapter->taken_out.empty()) {  // the scale stays
    config.r *= 2;
    config.lora_alpha *= config.use_rslora ? std::sqrt(2.0) : 2;
  }
  return config.json();
}

}  // namespace

AdapterToWrite adapter_to_write(const State& state, DType dtype) {
  AdapterToWrite out;
  const PeftConfig& config = state.adapter->config;
  out.base_model = {{"model_type", state.config.model_type()}, {"sha256", state.adapter->base_sha256}};
  if (!config.bottleneck) {
    out.tensors = peft_tensors_to_write(state, dtype);
    out.config = peft_config_to_write(state);
    return out;
  }
  for (const Parameter& p : state.parameters.parameters()) {
    if (!is_saved_with_adapter(p)) continue;
    const std::string name = saved_name(state, p);
    add_parameter(p.of_adapter ? out.tensors : out.head, state, p, name, dtype);
    const std::string second = p.of_adapter ? second_name_of_norm(name, *config.bottleneck) : "";
    if (!second.empty()) add_parameter(out.tensors, state, p, second, dtype);
  }
  out.config =
      bottleneck_config_to_write(state, *config.bottleneck, config.base_model_name_or_path, config.revision);
  if (!out.head.tensors.empty()) out.head_config = head_config_to_write(state);
  name_language(out, state);
  return out;
}

void write_adapter(const fs::path& folder, const AdapterToWrite& adapter) {
  const bool of_peft = adapter.config.find("peft_type") != adapter.config.end();
  hub::write_safetensors(folder / (of_peft ? kAdapterTensors : kBottleneckTensors), adapter.tensors.tensors);
  if (!adapter.head_config.is_null()) {
    hub::write_safetensors(folder / kHeadTensors, adapter.head.tensors);
    write_json(folder / kHeadConfig, adapter.head_config);
  }
  write_json(folder / kAdapterConfig, adapter.config);
  write_json(folder / kBaseModel, adapter.base_model);
}

void restore_adapter(State& state, const fs::path& folder) {
  const bool of_peft = !state.adapter->config.bottleneck;
  const hub::StateDict dict =
                           hub::read_safetensors(folder / (of_peft ? kAdapterTensors : kBottleneckTensors)),
                       head = !of_peft && path_exists(folder / kHeadTensors)
                                  ? hub::read_safetensors(folder / kHeadTensors)
                                  : hub::StateDict();
  std::vector<std::pair<const hub::TensorView*, Parameter*>> found;
  for (Parameter& p : state.parameters.parameters()) {
    if (!is_saved_with_adapter(p)) continue;
    const std::string name = of_peft ? name_in_peft(state, p) : saved_name(state, p);
    const hub::TensorView* t = (of_peft || p.of_adapter ? dict : head).find(name);
    if (!t) fail("{}: the tensor of {} is missing", folder.string(), p.name);
    const Doubled d = doubled(state, p);
    const std::vector<int64_t> shape = d.matrix ? doubled_shape(p, d) : stored_shape(p);
    if (t->shape != shape || t->dtype != DType::f32)
      fail("{}: tensor {} is {} {} and this model has F32 {}", folder.string(), t->name, dtype_name(t->dtype),
           tensor_shape(t->shape), tensor_shape(shape));
    found.emplace_back(t, &p);
  }
  const Json base = read_json(folder / kBaseModel);
  if (base.value("sha256", "") != state.adapter->base_sha256)
    fail_with("resume with the base model of that run", "{}: the run trained adapters of other weights",
              folder.string());
  check_same_language(state, base, folder);
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
