#include "models/transformer.h"

#include "base/error.h"

namespace graft::models {

using engine::Rows;
using engine::Tape;
using engine::Var;

Var PostNormLayer::forward(Tape& tape, Var x, const Inputs& inputs, const int32_t* rows, int64_t n) const {
  const int64_t width = attention.num_heads * attention.head_dim;
  // One row of each sequence is a thirtieth of the rows: under bf16 the products of the last layer's query
  // side stay in fp32, for less than packing the weights in bf16 would cost.
  const auto chosen = [&](engine::Linear layer) {
    layer.fp32 = rows && inputs.one_row_each;
    return layer;
  };
  Var residual = x, context = nullptr;
  Rows out_rows = inputs.rows;
  if (!rows) {
    const Var p = linear(tape, x, qkv);
    context = engine::attention(tape, {p, 0}, {p, width}, {p, 2 * width}, attention,
                                scope + ".attention.probs", inputs.rows, inputs.rows);
  } else {
    out_rows = engine::select_rows(tape, inputs.rows, rows, n);
    residual = engine::gather(tape, x, rows, n);
    const Var q = linear(tape, residual, chosen(query)), kv = linear(tape, x, key_value);
    context = engine::attention(tape, {q, 0}, {kv, 0}, {kv, width}, attention, scope + ".attention.probs",
                                out_rows, inputs.rows);
  }
  const Var a = linear(tape, context, chosen(attention_output));
  const Var middle = engine::residual_norm(tape, a, residual, attention_norm, attention_output_dropout,
                                           scope + ".attention.output", out_rows);
  const Var wide = linear(tape, middle, chosen(intermediate), activation);
  const Var narrow = linear(tape, wide, chosen(output));
  return engine::residual_norm(tape, narrow, middle, output_norm, hidden_dropout, scope + ".output",
                               out_rows);
}

Var run_layers(Tape& tape, Var x, const std::vector<PostNormLayer>& layers, const Inputs& inputs,
               const int32_t* rows, int64_t n) {
  if (inputs.hidden_states) inputs.hidden_states->push_back(x);
  for (size_t i = 0; i < layers.size(); ++i) {
    const bool last = i + 1 == layers.size();
    x = layers[i].forward(tape, x, inputs, last ? rows : nullptr, last ? n : 0);
    if (inputs.hidden_states) inputs.hidden_states->push_back(x);
  }
  return x;
}

engine::Activation parse_activation(const std::string& name, const std::string& origin) {
  using engine::Activation;
  if (name == "gelu") return Activation::gelu;
  if (name == "gelu_new" || name == "gelu_pytorch_tanh" || name == "gelu_fast") return Activation::gelu_new;
  if (name == "relu") return Activation::relu;
  if (name == "silu" || name == "swish") return Activation::silu;
  if (name == "tanh") return Activation::tanh;
  if (name == "sigmoid") return Activation::sigmoid;
  fail(
      "{}: the activation \"{}\" is not known (gelu, gelu_new, gelu_pytorch_tanh, gelu_fast, relu, silu, "
      "swish, tanh, "
      "sigmoid are)",
      origin, name);
}

}  // namespace graft::models
