#include "models/adapter.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "base/error.h"
#include "base/nearest.h"
#include "base/threads.h"
#include "hub/sha256.h"
#include "models/adapter_folder.h"
#include "models/bottleneck.h"
#include "models/low_rank.h"
#include "models/state.h"
#include "models/virtual_tokens.h"
#include "models/weights.h"

namespace graft::models {

using engine::Parameter;

int64_t layer_of(const State& state, const std::string& name) {
  const auto place = layer_in_name(*state.family, name);
  return place ? place->layer : -1;
}

namespace {

std::string without_end(const std::string& name) { return name.substr(0, name.rfind('.')); }

[[noreturn]] void fail_without_match(const std::string& option, const std::string& target,
                                     const std::map<std::string, Parameter*>& modules) {
  std::set<std::string> endings;
  for (const auto& [module, matrix] : modules) {
    endings.insert(module.substr(module.rfind('.') + 1));
    endings.insert(module);
  }
  const std::vector<std::string> known(endings.begin(), endings.end());
  const std::string near = nearest_name(target, known);
  std::vector<std::string> last;
  for (const std::string& name : known)
    if (name.find('.') == std::string::npos) last.push_back(name);
  throw UsageError(
      fmt::format("--{}: no linear layer of this model is named \"{}\"", option, target),
      fmt::format("{}the names of its linear layers end in: {}",
                  near.empty() ? "" : fmt::format("did you mean {}? ", near), fmt::join(last, ", ")));
}

std::vector<std::string> default_targets(const State& state, PeftConfig& config) {
  const PeftDefaults* defaults = find_peft_defaults(state.config.model_type());
  if (!defaults)
    throw UsageError(fmt::format("--target_modules is needed: model_type \"{}\" has no default",
                                 state.config.model_type()),
                     "--target_modules all-linear takes every linear layer");
  if (config.peft_type == PeftType::lora) return defaults->lora;
  config.feedforward_modules = defaults->ia3_feedforward;
  return defaults->ia3;
}

// The modules that the targets select, by name. The config gets the targets as peft reads them.
std::map<std::string, Parameter*> selected(State& state, PeftConfig& config) {
  const std::map<std::string, Parameter*> modules = adaptable_matrices(state);
  if (config.target_modules.empty()) config.target_modules = default_targets(state, config);
  std::map<std::string, Parameter*> out;
  bool by_name = !config.layers_to_transform.empty();
  for (const std::string& target : config.target_modules) {
    const bool all = target == "all-linear";
    by_name |= all || target.find('*') != std::string::npos;
    const size_t before = out.size();
    bool found = false;
    for (const auto& [module, matrix] : modules) {
      if (!all && !selects(target, module)) continue;
      found = true;
      const int64_t layer = layer_of(state, matrix->name);
      const auto& layers = config.layers_to_transform;
      if (layers.empty() || std::find(layers.begin(), layers.end(), layer) != layers.end())
        out.emplace(module, matrix);
    }
    if (!found) fail_without_match("target_modules", target, modules);
    if (out.size() == before && out.empty() && target == config.target_modules.back())
      throw UsageError(fmt::format("--layers_to_transform {}: no such layer has a module of --target_modules",
                                   fmt::join(config.layers_to_transform, ",")));
  }
  if (by_name) {
    config.target_modules.clear();
    for (const auto& [module, matrix] : out) config.target_modules.push_back(module);
  }
  return out;
}

void adapt(State& state, const PeftConfig& config, const std::string& module, Parameter& matrix) {
  if (config.peft_type == PeftType::ia3) {
    const auto& forward = config.feedforward_modules;
    const bool scales_input = std::any_of(forward.begin(), forward.end(),
                                          [&](const std::string& name) { return selects(name, module); });
    state.parameters.adapt_by_factors(matrix, scales_input);
    return;
  }
  const int64_t most = std::min(matrix.rows(), matrix.cols());
  if (config.r > most)
    throw UsageError(fmt::format("--lora_r {}: {} is [{}, {}], whose rank is at most {}", config.r, module,
                                 matrix.rows(), matrix.cols(), most),
                     "give a smaller --lora_r, or leave the module out of --target_modules");
  engine::AdapterOptions options;
  options.rank = config.r;
  options.scale = static_cast<float>(config.scaling(module, config.r));
  options.dropout = static_cast<float>(config.lora_dropout);
  options.magnitude = config.use_dora;
  state.parameters.adapt(matrix, options);
  if (config.init_lora_weights == "gaussian")  // peft: nn.init.normal_(std=1 / r)
    matrix.adapter.a->init_std = 1 / static_cast<double>(config.r);
}

// The lengths of the rows of w: b is zero.
void initialize_magnitude(State& state, const Parameter& matrix) {
  const engine::HostRead w = state.parameters.read_value(matrix);
  const engine::HostWrite out = state.parameters.write_value(*matrix.adapter.magnitude);
  for (int64_t r = 0; r < matrix.rows(); ++r) {
    double sum = 0;
    for (int64_t c = 0; c < matrix.cols(); ++c) {
      const double x = w[r * matrix.cols() + c];
      sum += x * x;
    }
    out.data()[r] = static_cast<float>(std::sqrt(sum));
  }
}

// b a is the product of the largest singular values, divided by the scale; the matrix keeps the rest.
void initialize_by_singular_values(State& state, const Parameter& matrix, ModelAdapter::Product& taken_out) {
  const engine::Adapter& adapter = matrix.adapter;
  const int64_t rank = adapter.a->rows(), rows = matrix.rows(), cols = matrix.cols();
  std::vector<float> w(static_cast<size_t>(matrix.size));
  {
    const engine::HostRead values = state.parameters.read_value(matrix);
    std::copy(values.begin(), values.end(), w.begin());
  }
  const SingularTriplets top = largest_singular_triplets(w.data(), rows, cols, rank);
  taken_out.a.resize(static_cast<size_t>(rank * cols));
  taken_out.b.resize(static_cast<size_t>(rows * rank));
  for (int64_t k = 0; k < rank; ++k) {
    const double root = std::sqrt(top.values[static_cast<size_t>(k)] / static_cast<double>(adapter.scale));
    for (int64_t c = 0; c < cols; ++c)
      taken_out.a[static_cast<size_t>(k * cols + c)] =
          static_cast<float>(root * top.right[static_cast<size_t>(k * cols + c)]);
    for (int64_t r = 0; r < rows; ++r)
      taken_out.b[static_cast<size_t>(r * rank + k)] =
          static_cast<float>(root * top.left[static_cast<size_t>(k * rows + r)]);
  }
  std::copy(taken_out.a.begin(), taken_out.a.end(), state.parameters.write_value(*adapter.a).data());
  std::copy(taken_out.b.begin(), taken_out.b.end(), state.parameters.write_value(*adapter.b).data());
  add_product(state, matrix, adapter, -static_cast<double>(adapter.scale), w.data());
  const engine::HostWrite out = state.parameters.write_value(matrix);
  std::copy(w.begin(), w.end(), out.data());
}

// Declares what no matrix has. What was asked for and does not fit the model is an error of usage.
void declare_beside_matrices(State& state, PeftConfig& config) try {
  if (config.bottleneck) declare_bottlenecks(state, *config.bottleneck);
  if (!config.prompt) return;
  declare_virtual_tokens(state, config.prompt->num_virtual_tokens, config.prompt->prefix);
  config.prompt->token_dim = state.network.encoder->word_embeddings()->cols();
  config.prompt->num_layers = state.config.layers(state.family->sizes.num_layers);
  for (const char* key : {"num_attention_heads", "n_head", "n_heads"})
    if (const int64_t heads = state.config.integer_or(key, 0); heads > 0)
      config.prompt->num_attention_heads = heads;
} catch (const Error& e) {
  throw UsageError(e.what(), e.hint());
}

}  // namespace

std::string module_name(const State& state, const Parameter& matrix) {
  return without_end(saved_name(state, matrix));
}

std::map<std::string, Parameter*> adaptable_matrices(State& state) {
  std::map<std::string, Parameter*> out;
  for (Parameter& p : state.parameters.parameters())
    if (p.is_linear && !p.of_adapter && !p.unused && is_backbone(*state.family, p.name))
      out[module_name(state, p)] = &p;
  return out;
}

void mark_saved_modules(State& state, PeftConfig& config) {
  std::set<std::string> modules;
  const auto is_new = [&](const Parameter& p) {
    const auto starts = [&](const std::string& s) { return s == p.name || s.starts_with(p.name + " "); };
    const LoadReport& r = state.report;
    return std::any_of(r.missing.begin(), r.missing.end(), starts) ||
           std::any_of(r.mismatched.begin(), r.mismatched.end(), starts);
  };
  std::set<std::string> unmatched(config.modules_to_save.begin(), config.modules_to_save.end());
  for (Parameter& p : state.parameters.parameters()) {
    if (p.of_adapter || p.frozen_adapter || p.unused) continue;
    const std::string name = saved_name(state, p), module = without_end(name);
    bool named = false;
    for (const std::string& target : config.modules_to_save) {
      // An ending of the name of a module above the parameter: "pooler" of bert.pooler.dense.weight.
      for (std::string above = module; !named; above = without_end(above)) {
        named = selects(target, above);
        if (named) unmatched.erase(target);
        if (above.find('.') == std::string::npos) break;
      }
    }
    const bool of_head = !is_backbone(*state.family, p.name) && !state.head->predicts_tokens;
    if (!named && !of_head && !is_new(p)) continue;
    if (p.adapter)
      throw UsageError(
          fmt::format("--modules_to_save: {} has an adapter and cannot be trained whole", module),
          "leave it out of --target_modules");
    p.with_adapter = true;
    if (!is_separate_module(p)) modules.insert(of_head ? name.substr(0, name.find('.')) : module);
  }
  if (!unmatched.empty()) {
    std::set<std::string> known;
    for (const Parameter& p : state.parameters.parameters())
      if (!p.of_adapter) known.insert(without_end(saved_name(state, p)));
    const std::string near = nearest_name(*unmatched.begin(), {known.begin(), known.end()});
    throw UsageError(fmt::format("--modules_to_save: this model has no module \"{}\"", *unmatched.begin()),
                     near.empty() ? "" : "did you mean " + near + "?");
  }
  config.modules_to_save.assign(modules.begin(), modules.end());
}

void add_adapter(State& state, PeftConfig config, uint64_t seed, const std::vector<int32_t>& prompt_ids) {
  if (state.adapter)
    fail_with("graft merge makes a whole model of it, which can get new adapters",
              "{}: the model has adapters already", state.origin.string());
  if (state.generator)
    throw UsageError(
        "--peft_type is refused while a generator trains beside the model: both are trained whole",
        "fine-tune the result with adapters");
  auto adapter = std::make_unique<ModelAdapter>();
  const std::map<std::string, Parameter*> modules =
      config.bottleneck || config.prompt ? std::map<std::string, Parameter*>() : selected(state, config);
  state.parameters.reopen();
  declare_beside_matrices(state, config);
  for (const auto& [module, matrix] : modules) {
    adapt(state, config, module, *matrix);
    config.fan_in_fan_out |= matrix->stored_transposed;
  }
  state.parameters.allocate();
  mark_saved_modules(state, config);
  for (Parameter& p : state.parameters.parameters()) {
    if (p.of_adapter) initialize_parameter(state, p, seed);
    if (p.adapter) adapter->matrices.push_back(&p);
  }
  if (!prompt_ids.empty()) start_from_words(state, prompt_ids);
  adapter->base_sha256 = base_sha256(state);
  for (const Parameter* matrix : adapter->matrices) {
    if (config.init_lora_weights == "pissa")
      initialize_by_singular_values(state, *matrix, adapter->taken_out[matrix]);
    if (matrix->adapter.magnitude) initialize_magnitude(state, *matrix);
  }
  name_base(config, state.origin);
  if (!prompt_ids.empty()) config.prompt->tokenizer_name_or_path = config.base_model_name_or_path;
  if (config.task_type.empty()) config.task_type = peft_task_type(state.task);
  adapter->config = std::move(config);
  state.adapter = std::move(adapter);
  state.parameters.touch_values();
}

std::string parameter_sha256(const State& state, const Parameter& p) {
  constexpr int64_t kBlock = int64_t{1} << 20;  // floats: the blocks are read by all threads
  const engine::HostRead x = state.parameters.read_value(p);
  std::vector<std::string> digests(static_cast<size_t>((p.size + kBlock - 1) / kBlock));
  parallel_blocks(p.size, kBlock, [&](int64_t begin, int64_t end) {
    digests[static_cast<size_t>(begin / kBlock)] = hub::sha256_of(
        {reinterpret_cast<const char*>(x.data() + begin), static_cast<size_t>(end - begin) * sizeof(float)});
  });
  return hub::sha256_of(fmt::format("{} {} {}", p.name, fmt::join(p.shape, ","), fmt::join(digests, "")));
}

std::string base_sha256(const State& state) {
  const std::string pooler = std::string(state.family->base_prefix) + ".pooler.";
  std::string digests;
  for (const Parameter& p : state.parameters.parameters()) {
    if (p.of_adapter || p.frozen_adapter || p.with_adapter || !is_backbone(*state.family, p.name) ||
        p.name.starts_with(pooler))
      continue;
    digests += parameter_sha256(state, p);
  }
  return hub::sha256_of(digests);
}

}  // namespace graft::models
