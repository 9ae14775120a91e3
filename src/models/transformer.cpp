#include "models/transformer.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <map>

#include "base/error.h"
#include "base/nearest.h"
#include "base/shown.h"
#include "models/heads.h"

namespace graft::models {

using engine::Rows;
using engine::Tape;
using engine::Var;

void PostNormConfig::read_shared(const ModelConfig& config, const char* default_act) {
  vocab_size = config.integer("vocab_size");
  hidden_size = config.integer("hidden_size");
  num_hidden_layers = config.layers("num_hidden_layers");
  num_attention_heads = config.integer("num_attention_heads");
  intermediate_size = config.integer("intermediate_size");
  max_position_embeddings = config.size_or("max_position_embeddings", max_position_embeddings);
  hidden_act = parse_activation(config.text_or("hidden_act", default_act), config.origin());
  hidden_dropout_prob = config.probability_or("hidden_dropout_prob", hidden_dropout_prob);
  attention_probs_dropout_prob =
      config.probability_or("attention_probs_dropout_prob", attention_probs_dropout_prob);
  layer_norm_eps = config.non_negative_or("layer_norm_eps", layer_norm_eps);
  tie_word_embeddings = config.flag_or("tie_word_embeddings", true);
  num_labels = static_cast<int64_t>(config.label_names().size());
  check_heads(config, hidden_size, num_attention_heads);
}

PostNormSizes PostNormConfig::sizes() const {
  PostNormSizes out;
  out.hidden = hidden_size;
  out.heads = num_attention_heads;
  out.intermediate = intermediate_size;
  out.norm_eps = layer_norm_eps;
  out.activation = hidden_act;
  out.attention_dropout = attention_probs_dropout_prob;
  out.attention_output_dropout = out.output_dropout = hidden_dropout_prob;
  return out;
}

PostNormLayer make_post_norm_layer(engine::ParameterStore& store, const Scope& scope,
                                   const PostNormNames& names, const PostNormSizes& sizes) {
  const int64_t H = sizes.hidden;
  PostNormLayer layer;
  layer.scope = scope.name();
  layer.qkv = scope.linear_group({names.qkv.begin(), names.qkv.end()}, H, H);
  layer.query = part_of(store, layer.qkv, 0, 1);
  layer.key_value = part_of(store, layer.qkv, 1, 2);
  layer.attention_output = scope.linear(names.attention_output, H, H);
  layer.attention_norm = scope.norm(names.attention_norm, H, sizes.norm_eps);
  layer.intermediate = scope.linear(names.intermediate, sizes.intermediate, H);
  layer.output = scope.linear(names.output, H, sizes.intermediate);
  layer.output_norm = scope.norm(names.output_norm, H, sizes.norm_eps);
  layer.activation = sizes.activation;
  layer.attention = attention_options(H, sizes.heads, sizes.attention_dropout);
  layer.attention_output_dropout = static_cast<float>(sizes.attention_output_dropout);
  layer.hidden_dropout = static_cast<float>(sizes.output_dropout);
  return layer;
}

Var PostNormLayer::attend(Tape& tape, engine::Slice q, engine::Slice k, engine::Slice v,
                          const RelativePositions& positions, const Rows& q_rows, const Rows& k_rows) const {
  const std::string probabilities = scope + ".attention.probs";
  if (!positions.embeddings) {
    engine::AttentionOptions options = attention;
    options.bias = positions.bias;
    return engine::attention(tape, q, k, v, options, probabilities, q_rows, k_rows);
  }
  const Var dropped = engine::dropout(tape, positions.embeddings, positions.dropout,
                                      scope + ".attention.positions", positions.dropout_rows);
  engine::DisentangledPositions projected;
  projected.rows = positions.rows;
  // All texts read these few rows: in bf16 mode they stay in fp32.
  const auto project = [&](engine::Linear layer) -> Var {
    layer.fp32 = true;
    return layer.weight ? linear(tape, dropped, layer) : nullptr;
  };
  projected.key.v = project(position_key);
  projected.query.v = project(position_query);
  return engine::disentangled_attention(tape, q, k, v, projected, attention, probabilities, q_rows, k_rows);
}

namespace {

// norm(residual + dropout(x)), with the layer's adapters.
Var joined(Tape& tape, Var x, Var residual, const engine::Norm& norm, const std::vector<Bottleneck>& adapters,
           float dropout, const std::string& scope, const Rows& rows) {
  if (adapters.empty()) return engine::residual_norm(tape, x, residual, norm, dropout, scope, rows);
  return with_bottlenecks(tape, adapters, engine::dropout(tape, x, dropout, scope, rows), residual, norm,
                          rows);
}

}  // namespace

Var PostNormLayer::forward(Tape& tape, Var x, const Inputs& inputs, const RowSelection& rows,
                           const RelativePositions& positions) const {
  const int64_t width = attention.num_heads * attention.head_dim;
  // With one row per sequence, the products of the last layer's query side stay in fp32 in bf16 mode: so few
  // rows cost less in fp32 than packing the weights in bf16.
  const auto chosen = [&](engine::Linear layer) {
    layer.fp32 = rows.one_row_each;
    return layer;
  };
  Var residual = x, context = nullptr;
  Rows out_rows = inputs.rows;
  if (!rows.rows) {
    const Var p = linear(tape, x, qkv);
    context = attend(tape, {p, 0}, {p, width}, {p, 2 * width}, positions, inputs.rows, inputs.rows);
  } else {
    out_rows = engine::select_rows(tape, inputs.rows, rows.rows, rows.n);
    residual = engine::gather(tape, x, rows.rows, rows.n);
    const Var q = linear(tape, residual, chosen(query)), kv = linear(tape, x, key_value);
    context = attend(tape, {q, 0}, {kv, 0}, {kv, width}, positions, out_rows, inputs.rows);
  }
  const Var a = linear(tape, context, chosen(attention_output));
  const Var middle = joined(tape, a, residual, attention_norm, attention_bottlenecks,
                            attention_output_dropout, scope + ".attention.output", out_rows);
  const Var wide = linear(tape, middle, chosen(intermediate), activation);
  const Var narrow = linear(tape, wide, chosen(output));
  return joined(tape, narrow, middle, output_norm, output_bottlenecks, hidden_dropout, scope + ".output",
                out_rows);
}

Var adapted_embeddings(Tape& tape, Var x, const Inputs& inputs) {
  return inputs.invertible ? transform(tape, *inputs.invertible, x) : x;
}

Var run_layers(Tape& tape, Var x, const std::vector<PostNormLayer>& layers, const Inputs& inputs,
               const RowSelection& rows, const RelativePositions& positions) {
  const RowSelection every = {nullptr, inputs.rows.num_rows, false};
  if (inputs.hidden_states) inputs.hidden_states->push_back(x);
  for (size_t i = 0; i < layers.size(); ++i) {
    const RowSelection& read = i + 1 == layers.size() ? rows : every;
    x = tape.segment([x, inputs, read, positions, layer = &layers[i]](Tape& t) -> Tape::Results {
      return {layer->forward(t, x, inputs, read, positions)};
    })[0];
    if (inputs.hidden_states) inputs.hidden_states->push_back(x);
  }
  return x;
}

const int32_t* positions_after_padding(Tape& tape, const Inputs& inputs, int32_t padding) {
  auto* ids = tape.push_array<int32_t>(inputs.rows.num_rows);
  int32_t count = 0;
  for (int64_t r = 0; r < inputs.rows.num_rows; ++r) {
    if (inputs.rows.position[r] == 0) count = 0;
    // Behind virtual tokens the reference gets embeddings and no ids: it counts every token.
    const bool pads = inputs.input_ids[r] == padding && !inputs.has_virtual_tokens;
    ids[r] = pads ? padding : padding + ++count;
  }
  return ids;
}

const int32_t* one_token_type(Tape& tape, const Inputs& inputs) {
  auto* zeros = tape.push_array<int32_t>(inputs.rows.num_rows);
  std::fill_n(zeros, inputs.rows.num_rows, 0);
  return zeros;
}

engine::Activation parse_activation(const std::string& name, const std::string& origin) {
  using engine::Activation;
  // The reference's ACT2FN (transformers/activations.py), without those that have parameters.
  static const std::map<std::string, Activation> known = {{"gelu", Activation::gelu},
                                                          {"gelu_python", Activation::gelu},
                                                          {"gelu_10", Activation::gelu_10},
                                                          {"gelu_new", Activation::gelu_new},
                                                          {"gelu_fast", Activation::gelu_new},
                                                          {"gelu_accurate", Activation::gelu_new},
                                                          {"gelu_pytorch_tanh", Activation::gelu_new},
                                                          {"gelu_python_tanh", Activation::gelu_new},
                                                          {"quick_gelu", Activation::quick_gelu},
                                                          {"relu", Activation::relu},
                                                          {"relu2", Activation::relu2},
                                                          {"relu6", Activation::relu6},
                                                          {"leaky_relu", Activation::leaky_relu},
                                                          {"hardswish", Activation::hardswish},
                                                          {"silu", Activation::silu},
                                                          {"swish", Activation::silu},
                                                          {"mish", Activation::mish},
                                                          {"tanh", Activation::tanh},
                                                          {"sigmoid", Activation::sigmoid},
                                                          {"laplace", Activation::laplace},
                                                          {"sqrtsoftplus", Activation::sqrtsoftplus},
                                                          {"linear", Activation::none}};
  if (const auto it = known.find(name); it != known.end()) return it->second;
  if (name == "prelu" || name == "xielu")
    fail("{}: the activation \"{}\" has trained parameters, which graft does not implement", origin, name);
  std::vector<std::string> names;
  names.reserve(known.size());
  for (const auto& [known_name, activation] : known) names.push_back(known_name);
  const std::string near = nearest_name(name, names);
  fail_with(near.empty() ? "" : "did you mean \"" + near + "\"?",
            "{}: the activation \"{}\" is not known; known are: {}", origin, shown(name),
            fmt::join(names, ", "));
}

}  // namespace graft::models
