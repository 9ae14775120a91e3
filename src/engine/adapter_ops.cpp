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

// A parameter as a value, without a gradient.
Var constant_of(Tape& tape, const Parameter& p) {
  return tape.constant(make_tensor(tape.parameters().value(p), p.rows(), p.cols()));
}

Var dropped_input(Tape& tape, Var x, const Parameter& matrix) {
  const float p = matrix.adapter.dropout;
  if (p == 0 || !tape.options().training) return x;
  if (!x->rows) fail("the adapter of {} has dropout, but the rows of its input are not known", matrix.name);
  return dropout(tape, x, p, matrix.name + ".lora_dropout", *x->rows);
}

// scale * x a^T, [T, rank].
Var narrow_product(Tape& tape, Var x, const Adapter& adapter) {
  return scale(tape, linear(tape, x, {adapter.a, nullptr, 1, true}), adapter.scale);
}

Var low_rank(Tape& tape, Var x, const Adapter& adapter) {
  return linear(tape, narrow_product(tape, x, adapter), {adapter.b, nullptr, 1, true});
}

Tensor matrix_of_parameter(Tape& tape, const Parameter& p) {
  return make_tensor(tape.parameters().value(p), p.rows(), p.cols());
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

Var low_rank_sum(Tape& tape, Var x, const Linear& layer) {
  // The factors of the parameters with an adapter, and where their columns begin.
  struct Part {
    Var narrow;
    Parameter* b;
    int64_t first;
  };
  std::vector<Part> found;
  int64_t cols = 0, widest = 0;
  bool needs_grad = false;
  for (int i = 0; i < layer.count; ++i) {
    const Parameter& matrix = *part_at(tape, layer.weight, i);
    if (const Adapter& adapter = matrix.adapter; adapter.a) {
      const Var narrow = narrow_product(tape, dropped_input(tape, x, matrix), adapter);
      found.push_back({narrow, adapter.b, cols});
      needs_grad |= narrow->needs_grad || adapter.b->trainable;
      widest = std::max(widest, matrix.rows());
    }
    cols += matrix.rows();
  }
  const int64_t T = x->data.rows, n = static_cast<int64_t>(found.size());
  const Part* parts = tape.push_copy(found.data(), n);
  const Tensor sum = make_tensor(tape.take(T * cols), T, cols);
  const bool whole = n == 1 && widest == cols;
  float* const one = whole ? nullptr : tape.take(T * widest);
  if (!whole) tape.kernels().basic({.op = BasicOp::fill, .out = sum, .alpha = 0});
  for (int64_t i = 0; i < n; ++i) {
    LinearArgs args;
    args.x = parts[i].narrow->data;
    args.w = matrix_of_parameter(tape, *parts[i].b);
    args.y = whole ? sum : make_tensor(one, T, args.w.rows);
    args.by_row = tape.options().by_row;
    tape.kernels().linear(args);
    if (!whole)
      tape.kernels().basic(
          {.op = BasicOp::copy, .a = args.y, .out = sum.columns(parts[i].first, args.w.rows)});
  }
  if (one) tape.give(one);
  const Var out = tape.result(sum, needs_grad);
  tape.on_backward(out, [=](Tape& t) {
    float* const dy = whole ? nullptr : t.take(T * widest);
    for (int64_t i = 0; i < n; ++i) {
      Parameter& b = *parts[i].b;
      LinearBackwardArgs args;
      args.x = parts[i].narrow->data;
      args.w = matrix_of_parameter(t, b);
      args.dy = whole ? out->grad : make_tensor(dy, T, b.rows());
      if (!whole)
        t.kernels().basic(
            {.op = BasicOp::copy, .a = out->grad.columns(parts[i].first, b.rows()), .out = args.dy});
      if (parts[i].narrow->needs_grad) args.dx = t.grad_of(parts[i].narrow, args.add_dx);
      if (b.trainable) {
        args.dw = make_tensor(t.parameters().grad(b), b.rows(), b.cols());
        args.add_dw = b.has_grad;
        if (!t.planning()) b.has_grad = true;
      }
      t.kernels().linear_backward(args);
    }
    if (dy) t.give(dy);
  });
  return out;
}

void release_data(Tape& tape, Var temporary) {
  tape.give(temporary->data.data);
  temporary->data.data = nullptr;
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
