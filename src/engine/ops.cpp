#include "engine/ops.h"

#include <algorithm>
#include <functional>
#include <initializer_list>
#include <vector>

#include "base/error.h"
#include "engine/adapter_ops.h"
#include "engine/table_rows.h"

namespace graft::engine {
namespace {

// Parameters [first, first + count) of the store as one matrix or vector.
struct View {
  float* value = nullptr;
  float* grad = nullptr;
  int64_t rows = 0, cols = 0;
  bool trainable = false;  // one of them is trained: the matrix gets its whole gradient
  bool adapted = false;    // one of them has a low-rank adapter
  bool rescaled = false;   // one of them has factors or magnitudes
};

View view_of(Tape& tape, Parameter* first, int count) {
  ParameterStore& store = tape.parameters();
  View v{store.value(*first), nullptr, 0, first->shape.size() > 1 ? first->cols() : 1};
  auto& all = store.parameters();
  auto it = std::find_if(all.begin(), all.end(), [&](const Parameter& p) { return &p == first; });
  for (int i = 0; i < count; ++i, ++it) {
    if (it->offset != first->offset + v.rows * v.cols)
      fail("{} does not lie next to {}", it->name, first->name);
    v.rows += it->shape[0];
    v.trainable |= it->trainable;
    v.adapted |= it->adapter.a != nullptr;
    v.rescaled |= it->adapter.factors || it->adapter.magnitude;
  }
  if (store.has_grads() && !first->row_sparse) v.grad = store.grad(*first);
  return v;
}

// True where one of these parameters is trained; null counts as frozen.
bool any_trained(std::initializer_list<const Parameter*> parameters) {
  return std::any_of(parameters.begin(), parameters.end(),
                     [](const Parameter* p) { return p && p->trainable; });
}

// Whether a gradient is there that must be added to. Parts of a group without one, beside parts that have
// been used alone (DeBERTa projects its positions by query and key), become zero.
bool adds_gradient(Tape& tape, Parameter* first, int count) {
  auto& all = tape.parameters().parameters();
  const auto begin = std::find_if(all.begin(), all.end(), [&](const Parameter& p) { return &p == first; });
  const auto written = [](const Parameter& p) { return p.has_grad; };
  if (std::none_of(begin, begin + count, written)) return false;
  for (auto it = begin; it != begin + count; ++it)
    if (!it->has_grad && !tape.planning()) tape.device().fill(tape.parameters().grad(*it), it->size, 0);
  return true;
}

void mark_written(Tape& tape, Parameter* first, int count) {
  if (tape.planning()) return;
  auto& all = tape.parameters().parameters();
  auto it = std::find_if(all.begin(), all.end(), [&](const Parameter& p) { return &p == first; });
  for (int i = 0; i < count; ++i, ++it) it->has_grad = true;
}

// Ids must be rows of their table: a tokenizer or a length that does not fit the checkpoint ends here, not in
// memory. `more`: ids that follow those of the table.
void check_ids(const Tape& tape, const Parameter& table, const int32_t* ids, int64_t T, int64_t more = 0) {
  for (int64_t r = 0; !tape.planning() && r < T; ++r) {
    if (ids[r] >= 0 && ids[r] < table.rows() + more) continue;
    fail_with("tokenizer, checkpoint and max_seq_length must belong together",
              "{} has {} rows and is asked for row {}", table.name, table.rows(), ids[r]);
  }
}

// Dropout reads the example and the position of each row of x.
void check_dropout_rows(const Dropout& d, const Rows& rows, Var x) {
  if (d.threshold() > 0 && rows.num_rows != x->data.rows)
    fail("dropout: {} rows are described, the input has {}", rows.num_rows, x->data.rows);
}

}  // namespace

Var linear(Tape& tape, Var x, const Linear& layer, Activation activation) {
  const View w = view_of(tape, layer.weight, layer.count);
  if (w.cols != x->data.cols) {
    fail("{}: [{}, {}] does not fit an input of width {}", layer.weight->name, w.rows, w.cols, x->data.cols);
  }
  if (w.rescaled) return rescaled_linear(tape, x, layer, activation);
  if (!w.adapted) return plain_linear(tape, x, layer, activation, nullptr);
  const Var adapters = low_rank_sum(tape, x, layer);
  const Var y = plain_linear(tape, x, layer, activation, adapters);
  release_data(tape, adapters);
  return y;
}

Var plain_linear(Tape& tape, Var x, const Linear& layer, Activation activation, Var adapters) {
  const View w = view_of(tape, layer.weight, layer.count);
  const View bias = layer.bias ? view_of(tape, layer.bias, layer.count) : View{};
  const bool needs_grad =
      x->needs_grad || w.trainable || bias.trainable || (adapters && adapters->needs_grad);
  LinearArgs args;
  args.x = x->data;
  args.w = make_tensor(w.value, w.rows, w.cols);
  args.bias = bias.value;
  args.activation = activation;
  args.by_row = tape.options().by_row;
  if (adapters) args.addend = adapters->data;
  const bool in_bf16 = tape.options().bf16 && !layer.fp32;
  if (in_bf16) {
    args.x = tape.bf16_copy_of(x);
    x->keeps_copy |= w.trainable;
    args.packed = tape.kernels().packed_weights(tape.parameters(), *layer.weight, layer.count, args.w,
                                                DType::bf16, false, tape.record() && x->needs_grad);
  }
  // Not the small layers of a head.
  if (!in_bf16 && tape.options().packed_fp32 && !args.by_row && !layer.fp32)
    args.packed = tape.kernels().packed_weights(tape.parameters(), *layer.weight, layer.count, args.w,
                                                DType::f32, false, false);
  args.y = tape.push(x->data.rows, w.rows);
  // What comes out of an activation goes into the next product.
  if (in_bf16 && activation != Activation::none) args.y_bf16 = tape.push_bf16_copy(x->data.rows, w.rows);
  if (tape.record() && needs_grad && activation != Activation::none)
    args.pre = tape.push(x->data.rows, w.rows);
  tape.kernels().linear(args);
  Var y = tape.result(args.y, needs_grad, args.y_bf16);
  tape.note_rows(y, x);
  tape.on_backward(y, [=](Tape& t) {
    LinearBackwardArgs b;
    const View wv = view_of(t, layer.weight, layer.count);
    b.w = args.w;
    b.dy = y->grad;
    if (adapters && activation != Activation::none) {  // the adapters read the gradient before the activation
      t.kernels().activation_backward(b.dy, args.pre, activation);
    } else {
      b.pre = args.pre;
      b.activation = activation;
    }
    if (x->needs_grad) b.dx = t.grad_of(x, b.add_dx);
    if (in_bf16 && (b.dx || wv.trainable)) {
      b.dy_bf16 = make_tensor(t.take((padded_rows(b.dy.rows) * b.dy.cols + 1) / 2), b.dy.rows, b.dy.cols,
                              DType::bf16);
      if (b.dx)
        b.packed = t.kernels().packed_weights(t.parameters(), *layer.weight, layer.count, b.w, DType::bf16,
                                              true, false);
    }
    if (wv.trainable) {
      b.x = args.x;
      b.dw = make_tensor(wv.grad, wv.rows, wv.cols);
      b.add_dw = adds_gradient(t, layer.weight, layer.count);
      mark_written(t, layer.weight, layer.count);
    }
    if (layer.bias) {
      const View bv = view_of(t, layer.bias, layer.count);
      if (bv.trainable) {
        b.db = bv.grad;
        b.add_db = adds_gradient(t, layer.bias, layer.count);
        mark_written(t, layer.bias, layer.count);
      }
    }
    t.kernels().linear_backward(b);
    if (b.dy_bf16) t.give(b.dy_bf16.data);
    if (adapters && adapters->needs_grad)
      std::swap(adapters->grad, y->grad);  // no other operation reads them
  });
  return y;
}

namespace {

// The backward pass that embed and the residual operations share: through the norm into z, then dropout.
void norm_backward(Tape& t, const Norm& norm, ResidualNormBackwardArgs b) {
  ParameterStore& store = t.parameters();
  const bool trains_norm = b.dy && any_trained({norm.weight, norm.bias});
  if (!b.dx && !b.dresidual && !trains_norm) return;
  const auto gradient_of = [&](Parameter* p, float*& grad, bool& add) {
    if (!b.dy || !any_trained({p})) return;
    grad = store.grad(*p);
    add = p->has_grad;
    mark_written(t, p, 1);
  };
  gradient_of(norm.weight, b.dgamma, b.add_dgamma);
  gradient_of(norm.bias, b.dbeta, b.add_dbeta);
  b.kind = norm.kind;
  if (b.dy) {
    b.gamma = store.value(*norm.weight);
    b.scratch = t.take(norm_scratch_size(b.dy.rows, b.dy.cols));
  }
  t.kernels().residual_norm_backward(b);
  if (b.scratch) t.give(b.scratch);
}

const float* value_or_null(const ParameterStore& store, const Parameter* p) {
  return p ? store.value(*p) : nullptr;
}

// The ids of words and those of virtual tokens, which count from 0; negative where an id is of the other
// kind.
struct SplitIds {
  const int32_t *word = nullptr, *prompt = nullptr;
};

SplitIds split_ids(Tape& tape, const Embeddings& e, const int32_t* input_ids, int64_t T) {
  if (!e.prompt) return {input_ids};
  auto *word = tape.push_array<int32_t>(T), *prompt = tape.push_array<int32_t>(T);
  const auto first = static_cast<int32_t>(e.word->rows());
  for (int64_t r = 0; r < T; ++r) {
    const bool is_virtual = input_ids[r] >= first;
    word[r] = is_virtual ? -1 : input_ids[r];
    prompt[r] = is_virtual ? input_ids[r] - first : -1;
  }
  return {word, prompt};
}

}  // namespace

Var embed(Tape& tape, const Embeddings& e, const int32_t* input_ids, const int32_t* position_ids,
          const int32_t* token_type_ids, float dropout, std::string_view scope, const Rows& rows) {
  ParameterStore& store = tape.parameters();
  const int64_t H = e.word->cols();
  const int64_t T = rows.num_rows;
  check_ids(tape, *e.word, input_ids, T, e.prompt ? e.prompt->rows() : 0);
  if (e.position) check_ids(tape, *e.position, position_ids, T);
  if (e.token_type) check_ids(tape, *e.token_type, token_type_ids, T);
  EmbeddingArgs args;
  const SplitIds split = split_ids(tape, e, input_ids, T);
  // The order of the sum.
  Parameter* const tables[4] = {e.word, e.prompt, e.token_type, e.position};
  const int32_t* const ids[4] = {split.word, split.prompt, token_type_ids, position_ids};
  for (int i = 0; i < 4; ++i) {
    if (!tables[i]) continue;
    args.tables[i] = store.value(*tables[i]);
    args.ids[i] = tape.on_device(ids[i], T);
  }
  const bool normed = e.norm.weight != nullptr,
             trains_tables = any_trained({e.word, e.prompt, e.position, e.token_type}),
             needs_grad = trains_tables || any_trained({e.norm.weight, e.norm.bias});
  args.y = tape.push(T, H);
  args.y_bf16 = tape.push_bf16_copy(T, H);
  args.z = tape.record() && needs_grad && normed ? tape.push(T, H) : args.y;
  if (normed) {
    args.gamma = store.value(*e.norm.weight);
    args.beta = value_or_null(store, e.norm.bias);
    args.mean = tape.push_scratch<float>(T);
    args.rstd = tape.push_scratch<float>(T);
  }
  args.eps = e.norm.eps;
  args.kind = e.norm.kind;
  args.dropout = tape.dropout(dropout, scope);
  if (tape.options().training && tape.options().neftune_noise_alpha > 0) {
    args.noise_alpha = tape.options().neftune_noise_alpha;
    args.noise_key = philox_key(tape.options().seed, tape.options().step, "neftune");
  }
  args.rows = tape.on_device(rows);
  tape.kernels().embedding(args);
  Var y = tape.result(args.y, needs_grad, args.y_bf16);
  tape.note_rows(y, rows);
  tape.on_backward(y, [=](Tape& t) {
    if (args.dropout.threshold() > 0) t.kernels().dropout(y->grad, y->grad, args.dropout, args.rows, false);
    Tensor dz = y->grad;
    if (normed) {
      ResidualNormBackwardArgs b;
      b.dy = y->grad;
      b.z = args.z;
      b.mean = args.mean;
      b.rstd = args.rstd;
      if (trains_tables) b.dresidual = make_tensor(t.take(args.z.size()), args.z.rows, args.z.cols);
      norm_backward(t, e.norm, b);
      dz = b.dresidual;
    }
    if (!trains_tables) return;
    table_gradient(t, e.word, split.word, dz);
    table_gradient(t, e.prompt, split.prompt, dz);
    table_gradient(t, e.token_type, token_type_ids, dz);
    table_gradient(t, e.position, position_ids, dz);
    if (normed) t.give(dz.data);
  });
  return y;
}

namespace {

// z = residual + dropout(x) in place of x, and y = norm(z) unless `norm` is null. `read_z`: other operations
// may read z.
Stream residual_sum(Tape& tape, Var x, Var residual, const Norm* norm, bool read_z, float dropout,
                    std::string_view scope, const Rows& rows) {
  ParameterStore& store = tape.parameters();
  const int64_t T = x->data.rows, H = x->data.cols;
  ResidualNormArgs args;
  args.x = args.z = x->data;
  if (residual) args.residual = residual->data;
  if (norm) {
    args.y = tape.push(T, H);
    args.y_bf16 = tape.push_bf16_copy(T, H);
    args.gamma = store.value(*norm->weight);
    args.beta = value_or_null(store, norm->bias);
    args.mean = tape.push_scratch<float>(T);
    args.rstd = tape.push_scratch<float>(T);
    args.eps = norm->eps;
    args.kind = norm->kind;
  }
  args.dropout = tape.dropout(dropout, scope);
  check_dropout_rows(args.dropout, rows, x);
  args.rows = tape.on_device(rows);
  tape.kernels().residual_norm(args);
  const bool z_needs_grad = x->needs_grad || (residual && residual->needs_grad);
  Stream out{};
  if (read_z) out.z = tape.result(args.z, z_needs_grad);
  if (norm) out.y = tape.result(args.y, z_needs_grad || any_trained({norm->weight, norm->bias}), args.y_bf16);
  for (const Var v : {out.y, out.z}) {
    tape.note_rows(v, x->rows || !residual ? x : residual);
    tape.note_rows(v, rows);
  }
  const Norm kept = norm ? *norm : Norm{};
  tape.on_backward(norm ? out.y : out.z, norm ? out.z : nullptr, [=](Tape& t) {
    ResidualNormBackwardArgs b;
    if (out.y) b.dy = out.y->grad;
    if (out.z) b.dz = out.z->grad;
    b.z = args.z;
    b.mean = args.mean;
    b.rstd = args.rstd;
    b.dropout = args.dropout;
    b.rows = args.rows;
    if (x->needs_grad) b.dx = t.grad_of(x, b.add_dx);
    if (residual && residual->needs_grad) b.dresidual = t.grad_of(residual, b.add_dresidual);
    norm_backward(t, kept, b);
  });
  return out;
}

}  // namespace

Var residual_norm(Tape& tape, Var x, Var residual, const Norm& norm, float dropout, std::string_view scope,
                  const Rows& rows) {
  return residual_sum(tape, x, residual, &norm, false, dropout, scope, rows).y;
}

Stream residual_stream(Tape& tape, Var x, Var residual, const Norm& norm, float dropout,
                       std::string_view scope, const Rows& rows) {
  return residual_sum(tape, x, residual, &norm, true, dropout, scope, rows);
}

Var residual_add(Tape& tape, Var x, Var residual, float dropout, std::string_view scope, const Rows& rows) {
  return residual_sum(tape, x, residual, nullptr, true, dropout, scope, rows).z;
}

Var dropout(Tape& tape, Var x, float p, std::string_view scope, const Rows& rows) {
  const Dropout d = tape.dropout(p, scope);
  if (d.threshold() == 0) return x;
  check_dropout_rows(d, rows, x);
  Tensor y = tape.push(x->data.rows, x->data.cols);
  const Rows on_device = tape.on_device(rows);
  tape.kernels().dropout(x->data, y, d, on_device, false);
  Var out = tape.result(y, x->needs_grad);
  tape.note_rows(out, rows);
  tape.on_backward(out, [=](Tape& t) {
    bool add = false;
    Tensor dx = t.grad_of(x, add);
    t.kernels().dropout(out->grad, dx, d, on_device, add);
  });
  return out;
}

Var gather(Tape& tape, Var x, const int32_t* rows, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    if (rows[i] < 0 || rows[i] >= x->data.rows) fail("gather: row {} of {}", rows[i], x->data.rows);
  }
  const int32_t* kept = tape.push_copy(rows, n);
  Tensor y = tape.push(n, x->data.cols);
  tape.kernels().gather(x->data, tape.on_device(kept, n), y);
  Var out = tape.result(y, x->needs_grad);
  if (x->rows && std::adjacent_find(rows, rows + n, std::greater_equal<>()) == rows + n)
    tape.note_rows(out, select_rows(tape, *x->rows, kept, n));
  tape.on_backward(out, [=](Tape& t) {
    bool add = false;
    Tensor dx = t.grad_of(x, add);
    if (t.planning()) return;
    if (!add) t.device().fill(dx.f32(), dx.size(), 0);
    add_rows(t, out->grad, kept, dx.f32());
  });
  return out;
}

Var gated(Tape& tape, Slice a, Slice b, int64_t width, Activation activation) {
  if (a.v->data.rows != b.v->data.rows || a.first + width > a.v->data.cols ||
      b.first + width > b.v->data.cols)
    fail("gated: columns {} to {} of [{}, {}] times columns {} to {} of [{}, {}]", a.first, a.first + width,
         a.v->data.rows, a.v->data.cols, b.first, b.first + width, b.v->data.rows, b.v->data.cols);
  GatedArgs args;
  args.a = a.v->data.columns(a.first, width);
  args.b = b.v->data.columns(b.first, width);
  args.activation = activation;
  args.y = tape.push(a.v->data.rows, width);
  args.y_bf16 = tape.push_bf16_copy(a.v->data.rows, width);
  tape.kernels().gated(args);
  Var y = tape.result(args.y, a.v->needs_grad || b.v->needs_grad, args.y_bf16);
  tape.note_rows(y, a.v);
  tape.on_backward(y, [=](Tape& t) {
    GatedBackwardArgs back;
    back.a = args.a;
    back.b = args.b;
    back.dy = y->grad;
    back.activation = activation;
    const bool halves = a.v == b.v && a.v->data.cols == 2 * width && a.first != b.first;
    // Gradients that do not cover their value are added to zeros.
    const auto gradient_of = [&](const Slice& slice, bool& add) {
      if (!slice.v->needs_grad) return Tensor{};
      Tensor grad = t.grad_of(slice.v, add);
      if (!add && !halves && slice.v->data.cols != width) {
        t.kernels().basic({.op = BasicOp::fill, .out = grad, .alpha = 0});
        add = true;
      }
      return grad.columns(slice.first, width);
    };
    back.da = gradient_of(a, back.add_da);
    back.db = gradient_of(b, back.add_db);
    if (halves) back.add_db = back.add_da;  // both halves are new, or neither
    t.kernels().gated_backward(back);
  });
  return y;
}

}  // namespace graft::engine
