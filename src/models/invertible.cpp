#include "models/invertible.h"

#include <cmath>

#include "base/error.h"
#include "engine/basic_ops.h"
#include "models/scope.h"

namespace graft::models {

using engine::Linear;
using engine::Tape;
using engine::Var;

namespace {

constexpr double kInitStd = 0.02;  // of the library, whatever "init_weights" is

Var subnetwork(Tape& tape, Var x, const Linear& down, const Linear& up, engine::Activation activation) {
  return linear(tape, linear(tape, x, down, activation), up);
}

int64_t left_width(const InvertibleAdapter& a) { return a.f_up.weight->rows(); }

Var left(Tape& tape, const InvertibleAdapter& a, Var x) { return slice_columns(tape, x, 0, left_width(a)); }
Var right(Tape& tape, const InvertibleAdapter& a, Var x) {
  return slice_columns(tape, x, left_width(a), a.g_up.weight->rows());
}

}  // namespace

InvertibleAdapter declare_invertible(const Scope& scope, int64_t width, double reduction_factor,
                                     engine::Activation activation) {
  const int64_t first = width / 2, second = width - first;
  const auto size_of = [&](int64_t half) {
    const auto size = static_cast<int64_t>(std::floor(static_cast<double>(half) / reduction_factor));
    if (size < 1)
      fail_with(fmt::format("give a factor of at most {}", first),
                "inv_adapter_reduction_factor {} leaves no column of a half of {} columns", reduction_factor,
                half);
    return size;
  };
  InvertibleAdapter a;
  a.activation = activation;
  const int64_t f = size_of(second), g = size_of(first);
  a.f_down = scope.linear("F.0", f, second);
  a.f_up = scope.linear("F.2", first, f);
  a.g_down = scope.linear("G.0", g, first);
  a.g_up = scope.linear("G.2", second, g);
  for (Linear* layer : {&a.f_down, &a.f_up, &a.g_down, &a.g_up}) {
    layer->fp32 = true;
    layer->weight->init_std = kInitStd;
  }
  return a;
}

Var transform(Tape& tape, const InvertibleAdapter& a, Var x) {
  const Var x2 = right(tape, a, x);
  const Var y1 = add(tape, left(tape, a, x), subnetwork(tape, x2, a.f_down, a.f_up, a.activation));
  const Var y2 = add(tape, x2, subnetwork(tape, y1, a.g_down, a.g_up, a.activation));
  return concat_columns(tape, {y1, y2});
}

Var invert(Tape& tape, const InvertibleAdapter& a, Var y) {
  const Var y1 = left(tape, a, y);
  const Var x2 = sub(tape, right(tape, a, y), subnetwork(tape, y1, a.g_down, a.g_up, a.activation));
  const Var x1 = sub(tape, y1, subnetwork(tape, x2, a.f_down, a.f_up, a.activation));
  return concat_columns(tape, {x1, x2});
}

}  // namespace graft::models
