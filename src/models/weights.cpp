#include "models/weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "base/error.h"
#include "base/philox.h"

namespace graft::models {

using engine::Init;
using engine::Parameter;

namespace {

bool starts_with(const std::string& s, const std::string& prefix) {
  return s.compare(0, prefix.size(), prefix) == 0;
}

std::string shape_text(const std::vector<int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

void initialize(State& state, const Parameter& p, uint64_t seed) {
  float* out = state.parameters.value(p);
  if (p.init != Init::normal) {
    std::fill_n(out, p.size, p.init == Init::ones ? 1.0f : 0.0f);
    return;
  }
  const double range = state.config.number_or("initializer_range", 0.02);
  PhiloxStream stream(philox_key(seed, 0, p.name));
  for (int64_t i = 0; i < p.size; ++i) out[i] = static_cast<float>(range * stream.normal());
  if (p.padding_row >= 0 && p.padding_row < p.rows())
    std::fill_n(out + p.padding_row * p.cols(), p.cols(), 0.0f);
}

// Buffers and aliases that the reference writes beside the parameters: nothing is lost with them.
bool is_known_extra(const State& state, const std::string& name) {
  static const std::vector<std::string> extras = {
      "embeddings.position_ids", "cls.predictions.decoder.weight", "cls.predictions.decoder.bias",
      "lm_head.decoder.weight",  "lm_head.decoder.bias",           "vocab_projector.weight"};
  return state.task == "masked-lm"
             ? std::any_of(extras.begin(), extras.end(),
                           [&](const std::string& e) { return name.size() >= e.size() && name.ends_with(e); })
             : name.ends_with(extras[0]);
}

// Names a tensor of this parameter may have: its own, or without the base prefix (a checkpoint of the bare
// encoder).
const hub::TensorView* find_tensor(const std::map<std::string, const hub::TensorView*>& tensors,
                                   const Parameter& p, const std::string& prefix) {
  if (const auto it = tensors.find(p.name); it != tensors.end()) return it->second;
  if (!starts_with(p.name, prefix + ".")) return nullptr;
  const auto it = tensors.find(p.name.substr(prefix.size() + 1));
  return it == tensors.end() ? nullptr : it->second;
}

bool may_be_new(const Parameter& p, const std::string& prefix) {
  return !starts_with(p.name, prefix + ".") || starts_with(p.name, prefix + ".pooler.");
}

}  // namespace

std::string modern_name(const std::string& name) {
  const auto replace_end = [&](const std::string& from, const std::string& to) {
    return name.ends_with(from) ? name.substr(0, name.size() - from.size()) + to : name;
  };
  if (name.ends_with(".gamma")) return replace_end(".gamma", ".weight");
  if (name.ends_with(".beta")) return replace_end(".beta", ".bias");
  return name;
}

void load_weights(State& state, const Architecture& architecture, const hub::StateDict& dict,
                  const ModelOptions& options) {
  const std::string prefix = architecture.base_prefix;
  std::map<std::string, const hub::TensorView*> tensors;
  for (const hub::TensorView& t : dict.tensors()) tensors[modern_name(t.name)] = &t;
  std::set<const hub::TensorView*> used;
  for (const Parameter& p : state.parameters.parameters()) {
    const hub::TensorView* t = find_tensor(tensors, p, prefix);
    if (!t) {
      if (!may_be_new(p, prefix)) {
        fail_with("the checkpoint does not fit its config.json, or the download is not whole",
                  "{}: tensor {} {} is missing", state.origin.string(), p.name, shape_text(p.shape));
      }
      initialize(state, p, options.seed);
      state.report.missing.push_back(p.name);
      continue;
    }
    used.insert(t);
    if (t->shape != p.shape) {
      if (!options.ignore_mismatched_sizes) {
        fail_with(
            "--ignore_mismatched_sizes true starts such tensors anew (for a head with another number of "
            "labels)",
            "{}: tensor {} is {} but the model needs {}", t->file, t->name, shape_text(t->shape),
            shape_text(p.shape));
      }
      initialize(state, p, options.seed);
      state.report.mismatched.push_back(
          fmt::format("{} {} -> {}", p.name, shape_text(t->shape), shape_text(p.shape)));
      continue;
    }
    hub::copy_to_float(*t, state.parameters.value(p));
  }
  for (const auto& [name, t] : tensors) {
    if (!used.count(t) && !is_known_extra(state, name)) state.report.unexpected.push_back(name);
  }
  state.parameters.touch_values();
}

void initialize_weights(State& state, uint64_t seed) {
  for (const Parameter& p : state.parameters.parameters()) initialize(state, p, seed);
  state.parameters.touch_values();
}

std::optional<NonFinite> first_non_finite(const State& state) {
  for (const Parameter& p : state.parameters.parameters()) {
    const float* x = state.parameters.value(p);
    const float* bad = std::find_if(x, x + p.size, [](float v) { return !std::isfinite(v); });
    if (bad != x + p.size) return NonFinite{p.name, bad - x, *bad};
  }
  return std::nullopt;
}

std::vector<hub::TensorToWrite> tensors_to_write(const State& state, DType dtype) {
  std::vector<hub::TensorToWrite> out;
  for (const Parameter& p : state.parameters.parameters()) {
    out.push_back({p.name, p.shape, dtype, state.parameters.value(p)});
  }
  return out;
}

}  // namespace graft::models
