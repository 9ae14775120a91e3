#include "engine/adapter_ops.h"

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "engine/basic_ops.h"

namespace graft::engine {
namespace {

// Parameter i of the group that begins with `first`.
Parameter* part_at(Tape& tape, Parameter* first, int i) {
  auto& all = tape.parameters().parameters();
  return &*(std::find_if(all.begin(), all.end(), [&](const Parameter& p) { return &p == first; }) + i);
}

// A parameter as a value [rows, cols] of basic operations, which add its gradient to the store.
Var value_of(Tape& tape, Parameter& p, int64_t rows, int64_t cols) {
  const Var v = tape.result(make_tensor(tape.parameters().value(p), rows, cols), p.trainable);
  tape.on_backward(v, [v, rows, cols, parameter = &p](Tape& t) {
    BasicArgs args{.op = BasicOp::copy, .a = v->grad};
    args.out = make_tensor(t.parameters().grad(*parameter), rows, cols);
    args.add = parameter->has_grad;
    t.kernels().basic(args);
    if (!t.planning()) parameter->has_grad = true;
  });
  return v;
}

// The same without a gradient.
Var constant_of(Tape& tape, const Parameter& p) {
  return tape.constant(make_tensor(tape.parameters().value(p), p.rows(), p.cols()));
}

Var dropped_input(Tape& tape, Var x, const Parameter& matrix) {
  const float p = matrix.adapter.dropout;
  if (p == 0 || !tape.options().training) return x;
  if (!x->rows) fail("the adapter of {} has dropout, but the rows of its input are not known", matrix.name);
  return dropout(tape, x, p, matrix.name + ".lora_dropout", *x->rows);
}

Var low_rank(Tape& tape, Var x, const Adapter& adapter) {
  const Var narrow = scale(tape, linear(tape, x, {adapter.a, nullptr, 1, true}), adapter.scale);
  return linear(tape, narrow, {adapter.b, nullptr, 1, true});
}

// 1 / |w + scale * b a| of each row, [1,N], as a constant: the paper's section 4.3 and peft detach it. With
// G = a a^T the squared length is |w|^2 + 2 scale b (w a^T) + scale^2 b G b^T, without a matrix of w's size.
Var inverse_lengths(Tape& tape, const Parameter& matrix) {
  const Adapter& d = matrix.adapter;
  const Var w = constant_of(tape, matrix), a = constant_of(tape, *d.a), b = constant_of(tape, *d.b);
  const Var length = norm(tape, w);
  const Var mixed = reduce_sum(tape, mul(tape, b, matmul_transposed(tape, w, a)), Over::columns);
  const Var own =
      reduce_sum(tape, mul(tape, b, matmul(tape, b, matmul_transposed(tape, a, a))), Over::columns);
  const Var squared = add(tape, mul(tape, length, length),
                          add(tape, scale(tape, mixed, 2 * d.scale), scale(tape, own, d.scale * d.scale)));
  const Var inverse = exp(tape, scale(tape, log(tape, squared), -0.5f));
  return tape.constant(make_tensor(inverse->data.data, 1, matrix.rows()));
}

// m / |v| * (x w^T + scale * x a^T b^T) + bias; with dropout as in peft: x w^T + bias + (m / |v| - 1) * d w^T
// + m / |v| * scale * d a^T b^T, where d is the dropped x.
Var weight_normalised(Tape& tape, Var x, const Linear& layer) {
  const Adapter& d = layer.weight->adapter;
  Linear product = layer;
  product.bias = nullptr;
  const Var dropped = dropped_input(tape, x, *layer.weight);
  const Var factors =
      mul(tape, value_of(tape, *d.magnitude, 1, layer.weight->rows()), inverse_lengths(tape, *layer.weight));
  const Var both_parts = low_rank(tape, dropped, d);
  if (dropped == x) {
    const Var y = mul(tape, plain_linear(tape, x, product, Activation::none, both_parts), factors);
    return layer.bias ? add(tape, y, value_of(tape, *layer.bias, 1, layer.weight->rows())) : y;
  }
  const Var base = plain_linear(tape, dropped, product, Activation::none, nullptr);
  const Var scaled = mul(tape, add(tape, base, both_parts), factors);
  return add(tape, plain_linear(tape, x, layer, Activation::none, nullptr), sub(tape, scaled, base));
}

// y * factors, bias included; or the layer of x * factors.
Var scaled_by_factors(Tape& tape, Var x, const Linear& layer) {
  const Adapter& adapter = layer.weight->adapter;
  const Var factors = value_of(tape, *adapter.factors, 1, adapter.factors->size);
  if (adapter.scales_input) {
    const Var scaled = mul(tape, x, factors);
    return plain_linear(tape, scaled, layer, Activation::none, nullptr);
  }
  return mul(tape, plain_linear(tape, x, layer, Activation::none, nullptr), factors);
}

}  // namespace

Var low_rank_sum(Tape& tape, Var x, const Linear& layer) {
  std::vector<Var> parts;
  for (int i = 0; i < layer.count; ++i) {
    const Parameter& matrix = *part_at(tape, layer.weight, i);
    if (!matrix.adapter.a) {
      const Tensor zeros = tape.push(x->data.rows, matrix.rows());
      tape.kernels().basic({.op = BasicOp::fill, .out = zeros, .alpha = 0});
      parts.push_back(tape.constant(zeros));
      continue;
    }
    parts.push_back(low_rank(tape, dropped_input(tape, x, matrix), matrix.adapter));
  }
  return parts.size() == 1 ? parts[0] : concat_columns(tape, parts);
}

Var rescaled_linear(Tape& tape, Var x, const Linear& layer, Activation activation) {
  std::vector<Var> parts;
  for (int i = 0; i < layer.count; ++i) {
    Linear part = layer;
    part.weight = part_at(tape, layer.weight, i);
    if (layer.bias) part.bias = part_at(tape, layer.bias, i);
    part.count = 1;
    const Adapter& adapter = part.weight->adapter;
    parts.push_back(adapter.magnitude ? weight_normalised(tape, x, part)
                    : adapter.factors ? scaled_by_factors(tape, x, part)
                                      : linear(tape, x, part));
  }
  const Var y = parts.size() == 1 ? parts[0] : concat_columns(tape, parts);
  const Var out = activation == Activation::none ? y : activate(tape, y, activation);
  tape.note_rows(out, x);
  return out;
}

}  // namespace graft::engine
