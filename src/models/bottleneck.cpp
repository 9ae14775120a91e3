#include "models/bottleneck.h"

#include <fmt/ranges.h>

#include <array>
#include <cmath>

#include "base/error.h"
#include "engine/adapter_ops.h"
#include "engine/basic_ops.h"
#include "models/scope.h"
#include "models/state.h"
#include "models/transformer.h"

namespace graft::models {

using engine::Init;
using engine::Parameter;
using engine::Tape;
using engine::Var;

namespace {

// Where the library has the adapters of a layer (adapters/models/MODEL/mixin_MODEL.py).
struct Places {
  const char *model_type, *attention, *output;
};
constexpr std::array<Places, 5> kPlaces = {{{"bert", "attention.output", "output"},
                                            {"roberta", "attention.output", "output"},
                                            {"xlm-roberta", "attention.output", "output"},
                                            {"electra", "attention.output", "output"},
                                            {"distilbert", "attention_adapters", "output_adapters"}}};

const Places& places_of(const State& state) {
  const std::string type = state.config.model_type();
  std::vector<std::string> known;
  for (const Places& places : kPlaces) {
    if (type == places.model_type && state.network.encoder->post_norm_layers()) return places;
    known.emplace_back(places.model_type);
  }
  fail_with(fmt::format("they are for {}; every model_type can have LoRA adapters", fmt::join(known, ", ")),
            "{}: bottleneck adapters are not implemented for model_type \"{}\"", state.origin.string(), type);
}

// Declares one adapter below `scope`, "bert.encoder.layer.0.output.adapters.NAME".
Bottleneck declare(const Scope& scope, const BottleneckConfig& c, int64_t hidden, int64_t size) {
  constexpr double kEps = 1e-5;  // of torch.nn.LayerNorm
  Bottleneck a;
  a.scope = scope.name();
  if (c.ln_before) a.norm_before = scope.norm("adapter_down.0", hidden, kEps);
  a.down = scope.linear(c.ln_before ? "adapter_down.1" : "adapter_down.0", size, hidden);
  a.up = scope.linear("adapter_up", hidden, size);
  a.down.fp32 = a.up.fp32 = true;
  if (c.ln_after) a.norm_after = scope.norm("adapter_norm_after", hidden, kEps);
  if (!c.trained_scaling.empty()) {
    a.scaling = scope.bias("scaling", c.trained_scaling == "learned" ? 1 : hidden);
    a.scaling->init = Init::ones;
    a.scaling->no_decay = false;
  } else {
    a.factor = static_cast<float>(c.scaling);
  }
  Parameter &down = *a.down.weight, &up = *a.up.weight;
  if (c.init_weights == "mam_adapter") {
    down.init_std = 1 / std::sqrt(3 * static_cast<double>(hidden));  // kaiming_uniform_(a=sqrt(5))
    up.init = Init::zeros;
  } else {
    const bool houlsby = c.init_weights == "houlsby";
    for (Parameter* p : {&down, &up}) {
      p->init_std = houlsby ? 0.01 : 0.02;
      if (houlsby) p->init_cutoff = 0.02;
    }
  }
  a.dropout = static_cast<float>(c.dropout);
  a.activation = parse_activation(c.non_linearity, "non_linearity");
  a.is_parallel = c.is_parallel;
  a.original_ln_before = c.original_ln_before;
  a.original_ln_after = c.original_ln_after;
  a.adapter_residual_before_ln = c.adapter_residual_before_ln;
  using Residual = Bottleneck::Residual;
  if (c.residual_before_ln == "post_add") a.around = Residual::sum;
  // Without the norm before, what the adapter reads is x itself.
  if (c.residual_before_ln == "false" && c.original_ln_before) a.around = Residual::normed;
  return a;
}

// Behind the embeddings, and its inverse before the decoder of a masked-LM head.
void declare_invertible_adapter(State& state, const BottleneckConfig& config) {
  Network& network = state.network;
  const Scope scope =
      Scope(state.parameters, state.family->base_prefix) / "invertible_adapters" / config.name;
  network.invertible = std::make_unique<InvertibleAdapter>(
      declare_invertible(scope, network.encoder->word_embeddings()->cols(),
                         config.inv_adapter_reduction_factor, parse_activation(config.non_linearity, "")));
  if (const InvertibleAdapter** inverse = network.head->inverse()) *inverse = network.invertible.get();
}

// The adapter's own output, scaled and dropped, [T,H].
Var projected(Tape& tape, const Bottleneck& a, Var x, const engine::Rows& rows) {
  const Var in = a.norm_before.weight ? layer_norm(tape, x, a.norm_before) : x;
  Var y = linear(tape, linear(tape, in, a.down, a.activation), a.up);
  if (a.scaling)
    y = mul(tape, y, engine::value_of(tape, *a.scaling, 1, a.scaling->size));
  else if (a.factor != 1)
    y = scale(tape, y, a.factor);
  return engine::dropout(tape, y, a.dropout, a.scope + ".dropout", rows);
}

// The adapter's output with what is added to it, before the layer's own sum and norm, [T,H].
Var output_of(Tape& tape, const Bottleneck& a, Var x, Var residual, const engine::Norm& norm,
              const engine::Rows& rows) {
  if (a.is_parallel) {
    Var y = projected(tape, a, residual, rows);
    if (a.norm_after.weight) y = layer_norm(tape, y, a.norm_after);
    return add(tape, y, x);
  }
  Var in = x, around = x;
  if (a.original_ln_before) {
    const Var sum = add(tape, x, residual);
    if (a.around == Bottleneck::Residual::sum) around = sum;
    in = layer_norm(tape, sum, norm);
    if (a.around == Bottleneck::Residual::normed) around = in;
  }
  Var y = projected(tape, a, in, rows);
  if (a.adapter_residual_before_ln) y = add(tape, y, around);
  if (a.norm_after.weight) y = layer_norm(tape, y, a.norm_after);
  return a.adapter_residual_before_ln ? y : add(tape, y, around);
}

}  // namespace

Var with_bottlenecks(Tape& tape, const std::vector<Bottleneck>& adapters, Var x, Var residual,
                     const engine::Norm& norm, const engine::Rows& rows) {
  Var out = x;
  for (const Bottleneck& a : adapters) out = output_of(tape, a, out, residual, norm, rows);
  const Bottleneck& a = adapters.back();
  if (!a.original_ln_after) return out;
  // residual_norm takes its x for the sum: not where that is the result of a norm, which reads it again.
  if (!a.is_parallel && a.adapter_residual_before_ln && a.norm_after.weight)
    return layer_norm(tape, add(tape, out, residual), norm);
  return residual_norm(tape, out, residual, norm, 0, a.scope, rows);
}

void declare_bottlenecks(State& state, const BottleneckConfig& config,
                         const std::map<std::string, int64_t>& sizes) {
  const Places& places = places_of(state);
  std::vector<PostNormLayer>& layers = *state.network.encoder->post_norm_layers();
  const auto n = static_cast<int64_t>(layers.size());
  for (const int64_t layer : config.leave_out)
    if (layer < 0 || layer >= n)
      fail_with("name layers of this model", "leave_out names layer {}, and {} has {} layers, from 0 on",
                layer, state.origin.string(), n);
  const auto before = static_cast<std::ptrdiff_t>(state.parameters.parameters().size());
  for (int64_t i = 0; i < n; ++i) {
    PostNormLayer& layer = layers[static_cast<size_t>(i)];
    const int64_t hidden = layer.output.weight->rows();
    const auto add = [&](const char* place) {
      const Scope scope = Scope(state.parameters, layer.scope) / place / "adapters" / config.name;
      const std::string down =
          fmt::format("{}.adapter_down.{}.weight", scope.name(), config.ln_before ? 1 : 0);
      const auto found = sizes.find(down);
      return declare(scope, config, hidden, found == sizes.end() ? config.size_in(i, hidden) : found->second);
    };
    if (config.leaves_out(i)) continue;
    if (config.mh_adapter) layer.attention_bottlenecks.push_back(add(places.attention));
    if (config.output_adapter) layer.output_bottlenecks.push_back(add(places.output));
  }
  std::deque<Parameter>& all = state.parameters.parameters();
  if (before == static_cast<std::ptrdiff_t>(all.size()))
    fail_with("leave out fewer layers", "leave_out names every layer: none is left for an adapter");
  if (!config.inv_adapter.empty()) declare_invertible_adapter(state, config);
  for (auto p = all.begin() + before; p != all.end(); ++p) {
    p->of_adapter = true;
    p->is_linear = false;  // it gets no adapter itself
  }
}

int64_t count_bottlenecks(const State& state) {
  const std::vector<PostNormLayer>* layers = state.network.encoder->post_norm_layers();
  int64_t count = 0;
  for (size_t i = 0; layers && i < layers->size(); ++i)
    for (const auto* place : {&(*layers)[i].attention_bottlenecks, &(*layers)[i].output_bottlenecks})
      for (const Bottleneck& a : *place) count += a.down.weight->of_adapter ? 1 : 0;
  return count;
}

}  // namespace graft::models
