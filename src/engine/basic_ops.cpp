#include "engine/basic_ops.h"

#include "base/error.h"

namespace graft::engine {
namespace {

// Runs `args` into v's gradient.
void add_gradient(Tape& t, Var v, BasicArgs args) {
  if (!v->needs_grad) return;
  args.out = t.grad_of(v, args.add);
  t.kernels().basic(args);
}

// b must be a's shape or repeat into it.
void check_fit(const char* op, Var a, Var b) {
  const Tensor &x = a->data, &y = b->data;
  if ((y.rows == x.rows || y.rows == 1) && (y.cols == x.cols || y.cols == 1)) return;
  fail("{}: [{}, {}] does not fit [{}, {}]", op, y.rows, y.cols, x.rows, x.cols);
}

// The result of one basic operation on a (and b), of shape [rows, cols].
Var forward(Tape& tape, BasicArgs args, int64_t rows, int64_t cols, bool needs_grad) {
  args.out = tape.push(rows, cols);
  tape.kernels().basic(args);
  return tape.result(args.out, needs_grad);
}

Var add_scaled(Tape& tape, const char* name, Var a, Var b, float alpha) {
  check_fit(name, a, b);
  Var y = forward(tape, {.op = BasicOp::sum, .a = a->data, .b = b->data, .alpha = alpha}, a->data.rows,
                  a->data.cols, a->needs_grad || b->needs_grad);
  tape.note_rows(y, a);
  tape.on_backward(y, [=](Tape& t) {
    add_gradient(t, a, {.op = BasicOp::copy, .a = y->grad});
    add_gradient(t, b, {.op = BasicOp::reduce, .a = y->grad, .alpha = alpha});
  });
  return y;
}

// y = f(x) of x's shape; gradient(y) gives the operation of its backward pass.
template <class F>
Var unary(Tape& tape, Var x, BasicArgs args, F gradient) {
  args.a = x->data;
  Var y = forward(tape, args, x->data.rows, x->data.cols, x->needs_grad);
  tape.note_rows(y, x);
  tape.on_backward(y, [=](Tape& t) { add_gradient(t, x, gradient(y)); });
  return y;
}

Var reduce(Tape& tape, Var x, Over over, float alpha) {
  const int64_t rows = over == Over::columns ? x->data.rows : 1, cols = over == Over::rows ? x->data.cols : 1;
  Var y = forward(tape, {.op = BasicOp::reduce, .a = x->data, .alpha = alpha}, rows, cols, x->needs_grad);
  tape.on_backward(y,
                   [=](Tape& t) { add_gradient(t, x, {.op = BasicOp::copy, .a = y->grad, .alpha = alpha}); });
  return y;
}

}  // namespace

Var add(Tape& tape, Var a, Var b) { return add_scaled(tape, "add", a, b, 1); }

Var sub(Tape& tape, Var a, Var b) { return add_scaled(tape, "sub", a, b, -1); }

Var mul(Tape& tape, Var a, Var b) {
  check_fit("mul", a, b);
  Var y = forward(tape, {.op = BasicOp::product, .a = a->data, .b = b->data}, a->data.rows, a->data.cols,
                  a->needs_grad || b->needs_grad);
  tape.note_rows(y, a);
  tape.on_backward(y, [=](Tape& t) {
    add_gradient(t, a, {.op = BasicOp::product, .a = y->grad, .b = b->data});
    add_gradient(t, b, {.op = BasicOp::reduce, .a = y->grad, .b = a->data});
  });
  return y;
}

Var scale(Tape& tape, Var x, float factor) {
  return unary(tape, x, {.op = BasicOp::copy, .alpha = factor},
               [=](Var y) { return BasicArgs{.op = BasicOp::copy, .a = y->grad, .alpha = factor}; });
}

Var exp(Tape& tape, Var x) {
  return unary(tape, x, {.op = BasicOp::exp},
               [](Var y) { return BasicArgs{.op = BasicOp::product, .a = y->grad, .b = y->data}; });
}

Var log(Tape& tape, Var x) {
  return unary(tape, x, {.op = BasicOp::log},
               [x](Var y) { return BasicArgs{.op = BasicOp::quotient, .a = y->grad, .b = x->data}; });
}

Var activate(Tape& tape, Var x, Activation activation) {
  Var y = forward(tape, {.op = BasicOp::activation, .a = x->data, .activation = activation}, x->data.rows,
                  x->data.cols, x->needs_grad);
  tape.note_rows(y, x);
  tape.on_backward(y, [=](Tape& t) {
    t.kernels().activation_backward(y->grad, x->data, activation);
    add_gradient(t, x, {.op = BasicOp::copy, .a = y->grad});
  });
  return y;
}

// The three products that a linear layer has (y = x w^T, dx = dy w, dw = dy^T x) serve matmul as well.
Var matmul(Tape& tape, Var a, Var b) {
  if (a->data.cols != b->data.rows) {
    fail("matmul: [{}, {}] times [{}, {}]", a->data.rows, a->data.cols, b->data.rows, b->data.cols);
  }
  LinearBackwardArgs args;
  args.dy = a->data;
  args.w = b->data;
  args.dx = tape.push(a->data.rows, b->data.cols);
  tape.kernels().linear_backward(args);
  Var y = tape.result(args.dx, a->needs_grad || b->needs_grad);
  tape.on_backward(y, [=](Tape& t) {
    if (a->needs_grad) {
      LinearArgs da;
      da.x = y->grad;
      da.w = b->data;
      da.y = make_tensor(t.take(a->data.size()), a->data.rows, a->data.cols);
      t.kernels().linear(da);
      add_gradient(t, a, {.op = BasicOp::copy, .a = da.y});
      t.give(da.y.data);
    }
    if (b->needs_grad) {
      LinearBackwardArgs db;
      db.dy = a->data;
      db.x = y->grad;
      db.dw = t.grad_of(b, db.add_dw);
      t.kernels().linear_backward(db);
    }
  });
  return y;
}

Var matmul_transposed(Tape& tape, Var a, Var b) {
  if (a->data.cols != b->data.cols) {
    fail("matmul_transposed: [{}, {}] times the transpose of [{}, {}]", a->data.rows, a->data.cols,
         b->data.rows, b->data.cols);
  }
  LinearArgs args;
  args.x = a->data;
  args.w = b->data;
  args.y = tape.push(a->data.rows, b->data.rows);
  tape.kernels().linear(args);
  Var y = tape.result(args.y, a->needs_grad || b->needs_grad);
  tape.on_backward(y, [=](Tape& t) {
    LinearBackwardArgs back;
    back.x = a->data;
    back.w = b->data;
    back.dy = y->grad;
    // One call each: a and b may be one value, whose gradient the second call adds to.
    if (a->needs_grad) {
      back.dx = t.grad_of(a, back.add_dx);
      t.kernels().linear_backward(back);
      back.dx = {};
    }
    if (b->needs_grad) {
      back.dw = t.grad_of(b, back.add_dw);
      t.kernels().linear_backward(back);
    }
  });
  return y;
}

Var softmax(Tape& tape, Var x) {
  return unary(tape, x, {.op = BasicOp::softmax},
               [](Var y) { return BasicArgs{.op = BasicOp::softmax_gradient, .a = y->grad, .b = y->data}; });
}

Var log_softmax(Tape& tape, Var x) {
  return unary(tape, x, {.op = BasicOp::log_softmax}, [](Var y) {
    return BasicArgs{.op = BasicOp::log_softmax_gradient, .a = y->grad, .b = y->data};
  });
}

Var reduce_sum(Tape& tape, Var x, Over over) { return reduce(tape, x, over, 1); }

Var reduce_mean(Tape& tape, Var x, Over over) {
  const int64_t n = over == Over::all ? x->data.size() : over == Over::rows ? x->data.rows : x->data.cols;
  return reduce(tape, x, over, 1 / static_cast<float>(n));
}

Var mean_pool(Tape& tape, Var x, const Rows& rows) {
  check_rows("mean_pool", rows, x->data.rows);
  const BasicArgs args{.op = BasicOp::sequence_mean,
                       .a = x->data,
                       .cu_seqlens = tape.on_device(rows.cu_seqlens, rows.num_sequences + 1),
                       .num_sequences = rows.num_sequences};
  Var y = forward(tape, args, rows.num_sequences, x->data.cols, x->needs_grad);
  tape.on_backward(y, [=](Tape& t) {
    BasicArgs back = args;
    back.op = BasicOp::sequence_mean_gradient;
    back.a = y->grad;
    add_gradient(t, x, back);
  });
  return y;
}

Var norm(Tape& tape, Var x) {
  Var y = forward(tape, {.op = BasicOp::norm, .a = x->data}, x->data.rows, 1, x->needs_grad);
  tape.on_backward(
      y, [=](Tape& t) { add_gradient(t, x, {.op = BasicOp::norm_gradient, .a = y->grad, .b = x->data}); });
  return y;
}

Var normalize(Tape& tape, Var x, float eps) {
  return unary(tape, x, {.op = BasicOp::normalize, .alpha = eps}, [=](Var y) {
    return BasicArgs{.op = BasicOp::normalize_gradient, .a = y->grad, .b = x->data, .alpha = eps};
  });
}

// Without a residual and dropout the fused operation leaves x as it is.
Var layer_norm(Tape& tape, Var x, const Norm& norm) {
  return residual_norm(tape, x, nullptr, norm, 0, "", Rows{});
}

Var concat_columns(Tape& tape, const std::vector<Var>& parts) {
  if (parts.empty()) fail("concat_columns: nothing to join");
  const int64_t rows = parts.front()->data.rows;
  int64_t cols = 0;
  bool needs_grad = false;
  for (const Var p : parts) {
    if (p->data.rows != rows) fail("concat_columns: {} rows beside {}", p->data.rows, rows);
    cols += p->data.cols;
    needs_grad |= p->needs_grad;
  }
  Tensor joined = tape.push(rows, cols);
  const int64_t n = static_cast<int64_t>(parts.size());
  const Var* kept = tape.push_copy(parts.data(), n);
  // f(part, its columns of t)
  const auto each_part = [kept, n](Tensor t, auto f) {
    int64_t first = 0;
    for (int64_t i = 0; i < n; ++i) {
      f(kept[i], t.columns(first, kept[i]->data.cols));
      first += kept[i]->data.cols;
    }
  };
  each_part(joined,
            [&](Var p, Tensor at) { tape.kernels().basic({.op = BasicOp::copy, .a = p->data, .out = at}); });
  Var y = tape.result(joined, needs_grad);
  tape.note_rows(y, parts.front());
  tape.on_backward(y, [=](Tape& t) {
    each_part(y->grad, [&](Var p, Tensor at) { add_gradient(t, p, {.op = BasicOp::copy, .a = at}); });
  });
  return y;
}

Var slice_columns(Tape& tape, Var x, int64_t first, int64_t count) {
  if (first < 0 || count < 0 || first + count > x->data.cols) {
    fail("slice_columns: columns {} to {} of {}", first, first + count, x->data.cols);
  }
  Var y = forward(tape, {.op = BasicOp::copy, .a = x->data.columns(first, count)}, x->data.rows, count,
                  x->needs_grad);
  tape.note_rows(y, x);
  tape.on_backward(y, [=](Tape& t) {
    bool add = false;
    Tensor dx = t.grad_of(x, add);
    if (!add) t.kernels().basic({.op = BasicOp::fill, .out = dx, .alpha = 0});
    t.kernels().basic({.op = BasicOp::copy, .a = y->grad, .out = dx.columns(first, count), .add = true});
  });
  return y;
}

}  // namespace graft::engine
