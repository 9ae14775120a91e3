#include "engine/ops.h"

#include <algorithm>
#include <initializer_list>
#include <vector>

#include "base/error.h"

namespace graft::engine {
namespace {

// Parameters [first, first + count) of the store as one matrix or vector.
struct View {
  float* value = nullptr;
  float* grad = nullptr;
  int64_t rows = 0, cols = 0;
  bool add = false;        // a gradient is there already
  bool trainable = false;  // one of them is trained: the matrix gets its whole gradient
};

View view_of(Tape& tape, Parameter* first, int count) {
  ParameterStore& store = tape.parameters();
  View v{store.value(*first), nullptr, 0, first->shape.size() > 1 ? first->cols() : 1,
         first->has_grad,     false};
  auto& all = store.parameters();
  auto it = std::find_if(all.begin(), all.end(), [&](const Parameter& p) { return &p == first; });
  for (int i = 0; i < count; ++i, ++it) {
    if (it->offset != first->offset + v.rows * v.cols)
      fail("{} does not lie next to {}", it->name, first->name);
    v.rows += it->shape[0];
    v.trainable |= it->trainable;
  }
  if (store.has_grads() && !first->row_sparse) v.grad = store.grad(*first);
  return v;
}

// True where one of these parameters is trained; null counts as frozen.
bool any_trained(std::initializer_list<const Parameter*> parameters) {
  return std::any_of(parameters.begin(), parameters.end(),
                     [](const Parameter* p) { return p && p->trainable; });
}

void mark_written(Tape& tape, Parameter* first, int count) {
  if (tape.planning()) return;
  auto& all = tape.parameters().parameters();
  auto it = std::find_if(all.begin(), all.end(), [&](const Parameter& p) { return &p == first; });
  for (int i = 0; i < count; ++i, ++it) it->has_grad = true;
}

// Row indices grouped by id, ids ascending, rows ascending within one: the fixed order of a scatter.
struct Groups {
  std::vector<int32_t> ids, start, order;
};

Groups group_by_id(const int32_t* ids, int64_t T, int64_t skip) {
  Groups g;
  for (int64_t r = 0; r < T; ++r) {
    if (ids[r] != skip) g.order.push_back(static_cast<int32_t>(r));
  }
  std::stable_sort(g.order.begin(), g.order.end(), [&](int32_t a, int32_t b) { return ids[a] < ids[b]; });
  for (size_t i = 0; i < g.order.size(); ++i) {
    if (i == 0 || ids[g.order[i]] != g.ids.back()) {
      g.ids.push_back(ids[g.order[i]]);
      g.start.push_back(static_cast<int32_t>(i));
    }
  }
  g.start.push_back(static_cast<int32_t>(g.order.size()));
  return g;
}

// Adds the rows of dz to the gradient of the table that `ids` looked up.
void embedding_gradient(Tape& tape, Parameter* table, const int32_t* ids, Tensor dz) {
  if (!table || !table->trainable || tape.planning()) return;
  ParameterStore& store = tape.parameters();
  Groups g = group_by_id(ids, dz.rows, table->padding_row);
  ScatterArgs args;
  args.grad = dz;
  args.start = g.start.data();
  args.order = g.order.data();
  args.num_unique = static_cast<int64_t>(g.ids.size());
  if (table->row_sparse) {
    SparseGrad& sparse = store.sparse_grad(*table);
    for (int32_t& id : g.ids) {
      int32_t& slot = sparse.slot_of[static_cast<size_t>(id)];
      if (slot < 0) {
        slot = static_cast<int32_t>(sparse.ids.size());
        sparse.ids.push_back(id);
      }
      id = slot;
    }
    sparse.rows.resize(sparse.ids.size() * static_cast<size_t>(dz.cols), 0.0f);
    args.out = sparse.rows.data();
  } else {
    if (!table->has_grad) std::fill_n(store.grad(*table), table->size, 0.0f);
    args.out = store.grad(*table);
  }
  args.ids = g.ids.data();
  tape.kernels().scatter(args);
  table->has_grad = true;
}

// Ids must be rows of their table: a tokenizer or a length that does not fit the checkpoint ends here, not in
// memory.
void check_ids(const Tape& tape, const Parameter& table, const int32_t* ids, int64_t T) {
  for (int64_t r = 0; !tape.planning() && r < T; ++r) {
    if (ids[r] >= 0 && ids[r] < table.rows()) continue;
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
  const View bias = layer.bias ? view_of(tape, layer.bias, layer.count) : View{};
  const bool needs_grad = x->needs_grad || w.trainable || bias.trainable;
  LinearArgs args;
  args.x = x->data;
  args.w = make_tensor(w.value, w.rows, w.cols);
  args.bias = bias.value;
  args.activation = activation;
  const bool in_bf16 = tape.options().bf16 && !layer.fp32;
  if (in_bf16) {
    args.x = tape.bf16_copy_of(x);
    args.packed = tape.kernels().packed_weights(tape.parameters(), *layer.weight, layer.count, args.w, false,
                                                tape.record() && x->needs_grad);
  }
  args.y = tape.push(x->data.rows, w.rows);
  // What comes out of an activation goes into the next product.
  if (in_bf16 && activation != Activation::none) args.y_bf16 = tape.push_bf16_copy(x->data.rows, w.rows);
  if (tape.record() && needs_grad && activation != Activation::none)
    args.pre = tape.push(x->data.rows, w.rows);
  tape.kernels().linear(args);
  Var y = tape.result(args.y, needs_grad, args.y_bf16);
  tape.on_backward(y, [=](Tape& t) {
    LinearBackwardArgs b;
    const View wv = view_of(t, layer.weight, layer.count);
    b.x = args.x;
    b.w = args.w;
    b.dy = y->grad;
    b.pre = args.pre;
    b.activation = activation;
    if (x->needs_grad) b.dx = t.grad_of(x, b.add_dx);
    if (in_bf16 && (b.dx || wv.trainable)) {
      b.dy_bf16 = make_tensor(t.take((padded_rows(b.dy.rows) * b.dy.cols + 1) / 2), b.dy.rows, b.dy.cols,
                              DType::bf16);
      if (b.dx)
        b.packed = t.kernels().packed_weights(t.parameters(), *layer.weight, layer.count, b.w, true, false);
    }
    if (wv.trainable) {
      b.dw = make_tensor(wv.grad, wv.rows, wv.cols);
      b.add_dw = wv.add;
      mark_written(t, layer.weight, layer.count);
    }
    if (layer.bias) {
      const View bv = view_of(t, layer.bias, layer.count);
      if (bv.trainable) {
        b.db = bv.grad;
        b.add_db = bv.add;
        mark_written(t, layer.bias, layer.count);
      }
    }
    t.kernels().linear_backward(b);
    if (b.dy_bf16) t.give(b.dy_bf16.data);
  });
  return y;
}

namespace {

// The backward pass that embed and residual_norm share: through the LayerNorm into z, then dropout.
void norm_backward(Tape& t, const Norm& norm, ResidualNormBackwardArgs b) {
  ParameterStore& store = t.parameters();
  if (!b.dx && !b.dresidual && !any_trained({norm.weight, norm.bias})) return;
  b.gamma = store.value(*norm.weight);
  float* scratch = t.take(norm_scratch_size(b.dy.rows, b.dy.cols));
  b.scratch = scratch;
  if (norm.weight->trainable) {
    b.dgamma = store.grad(*norm.weight);
    b.add_dgamma = norm.weight->has_grad;
    mark_written(t, norm.weight, 1);
  }
  if (norm.bias->trainable) {
    b.dbeta = store.grad(*norm.bias);
    b.add_dbeta = norm.bias->has_grad;
    mark_written(t, norm.bias, 1);
  }
  t.kernels().residual_norm_backward(b);
  t.give(scratch);
}

}  // namespace

Var embed(Tape& tape, const Embeddings& e, const int32_t* input_ids, const int32_t* position_ids,
          const int32_t* token_type_ids, float dropout, std::string_view scope, const Rows& rows) {
  ParameterStore& store = tape.parameters();
  const int64_t H = e.word->cols();
  check_ids(tape, *e.word, input_ids, rows.num_rows);
  check_ids(tape, *e.position, position_ids, rows.num_rows);
  if (e.token_type) check_ids(tape, *e.token_type, token_type_ids, rows.num_rows);
  EmbeddingArgs args;
  args.tables[0] = store.value(*e.word);
  args.ids[0] = input_ids;
  if (e.token_type) args.tables[1] = store.value(*e.token_type), args.ids[1] = token_type_ids;
  args.tables[2] = store.value(*e.position);
  args.ids[2] = position_ids;
  args.y = tape.push(rows.num_rows, H);
  args.y_bf16 = tape.push_bf16_copy(rows.num_rows, H);
  const bool trains_tables = any_trained({e.word, e.position, e.token_type}),
             needs_grad = trains_tables || any_trained({e.norm.weight, e.norm.bias});
  args.z = tape.record() && needs_grad ? tape.push(rows.num_rows, H) : args.y;
  args.gamma = store.value(*e.norm.weight);
  args.beta = store.value(*e.norm.bias);
  args.mean = tape.push_array<float>(rows.num_rows);
  args.rstd = tape.push_array<float>(rows.num_rows);
  args.eps = e.norm.eps;
  args.dropout = tape.dropout(dropout, scope);
  args.rows = rows;
  tape.kernels().embedding(args);
  Var y = tape.result(args.y, needs_grad, args.y_bf16);
  tape.on_backward(y, [=](Tape& t) {
    if (args.dropout.threshold() > 0) t.kernels().dropout(y->grad, y->grad, args.dropout, args.rows, false);
    ResidualNormBackwardArgs b;
    b.dy = y->grad;
    b.z = args.z;
    b.mean = args.mean;
    b.rstd = args.rstd;
    if (trains_tables) b.dresidual = make_tensor(t.take(args.z.size()), args.z.rows, args.z.cols);
    norm_backward(t, e.norm, b);
    if (!trains_tables) return;
    embedding_gradient(t, e.word, args.ids[0], b.dresidual);
    embedding_gradient(t, e.token_type, args.ids[1], b.dresidual);
    embedding_gradient(t, e.position, args.ids[2], b.dresidual);
    t.give(b.dresidual.data);
  });
  return y;
}

Var residual_norm(Tape& tape, Var x, Var residual, const Norm& norm, float dropout, std::string_view scope,
                  const Rows& rows) {
  ParameterStore& store = tape.parameters();
  ResidualNormArgs args;
  args.x = x->data;
  args.z = x->data;
  if (residual) args.residual = residual->data;
  args.y = tape.push(x->data.rows, x->data.cols);
  args.y_bf16 = tape.push_bf16_copy(x->data.rows, x->data.cols);
  args.gamma = store.value(*norm.weight);
  args.beta = store.value(*norm.bias);
  args.mean = tape.push_array<float>(x->data.rows);
  args.rstd = tape.push_array<float>(x->data.rows);
  args.eps = norm.eps;
  args.dropout = tape.dropout(dropout, scope);
  check_dropout_rows(args.dropout, rows, x);
  args.rows = rows;
  tape.kernels().residual_norm(args);
  Var y = tape.result(
      args.y, x->needs_grad || (residual && residual->needs_grad) || any_trained({norm.weight, norm.bias}),
      args.y_bf16);
  tape.on_backward(y, [=](Tape& t) {
    ResidualNormBackwardArgs b;
    b.dy = y->grad;
    b.z = args.z;
    b.mean = args.mean;
    b.rstd = args.rstd;
    b.dropout = args.dropout;
    b.rows = args.rows;
    if (x->needs_grad) b.dx = t.grad_of(x, b.add_dx);
    if (residual && residual->needs_grad) b.dresidual = t.grad_of(residual, b.add_dresidual);
    norm_backward(t, norm, b);
  });
  return y;
}

Var attention(Tape& tape, Slice q, Slice k, Slice v, const AttentionOptions& options, std::string_view scope,
              const Rows& q_rows, const Rows& k_rows) {
  const int64_t width = options.num_heads * options.head_dim;
  check_rows("attention", q_rows, q.v->data.rows);
  check_rows("attention", k_rows, k.v->data.rows);
  if (q_rows.num_sequences != k_rows.num_sequences || k.v->data.rows != v.v->data.rows) {
    fail("attention: queries of {} sequences, keys of {} with {} rows, values with {} rows",
         q_rows.num_sequences, k_rows.num_sequences, k.v->data.rows, v.v->data.rows);
  }
  for (const Slice& one : {q, k, v}) {
    int64_t read = 0;
    for (const Slice& other : {q, k, v}) read += other.v == one.v ? width : 0;
    if (tape.record() && one.v->needs_grad && read != one.v->data.cols) {
      fail("attention: {} of the {} columns of a projection are read; the others would have no gradient",
           read, one.v->data.cols);
    }
  }
  AttentionArgs args;
  args.q = q.v->data.columns(q.first, width);
  args.k = k.v->data.columns(k.first, width);
  args.v = v.v->data.columns(v.first, width);
  args.out = tape.push(q.v->data.rows, width);
  args.out_bf16 = tape.push_bf16_copy(q.v->data.rows, width);
  args.num_heads = options.num_heads;
  args.head_dim = options.head_dim;
  args.scale = options.scale;
  args.causal = options.causal;
  args.window = options.window;
  args.dropout = tape.dropout(options.dropout, scope);
  args.q_rows = q_rows;
  args.k_rows = k_rows;
  const bool needs_grad = q.v->needs_grad || k.v->needs_grad || v.v->needs_grad;
  if (tape.record() && needs_grad) args.lse = tape.push_array<float>(q.v->data.rows * options.num_heads);
  tape.kernels().attention(args);
  Var y = tape.result(args.out, needs_grad, args.out_bf16);
  tape.on_backward(y, [=](Tape& t) {
    if (q.v->grad || k.v->grad || v.v->grad)
      fail("attention: q, k and v must not be inputs of another operation");
    // Each slice is written once, and together they cover their projections.
    const auto gradient_of = [&](const Slice& slice) {
      bool add = false;
      return slice.v->needs_grad ? t.grad_of(slice.v, add).columns(slice.first, width) : Tensor{};
    };
    AttentionBackwardArgs b;
    b.forward = args;
    b.dout = y->grad;
    b.dq = gradient_of(q);
    b.dk = gradient_of(k);
    b.dv = gradient_of(v);
    t.kernels().attention_backward(b);
  });
  return y;
}

Var dropout(Tape& tape, Var x, float p, std::string_view scope, const Rows& rows) {
  const Dropout d = tape.dropout(p, scope);
  if (d.threshold() == 0) return x;
  check_dropout_rows(d, rows, x);
  Tensor y = tape.push(x->data.rows, x->data.cols);
  tape.kernels().dropout(x->data, y, d, rows, false);
  Var out = tape.result(y, x->needs_grad);
  tape.on_backward(out, [=](Tape& t) {
    bool add = false;
    Tensor dx = t.grad_of(x, add);
    t.kernels().dropout(out->grad, dx, d, rows, add);
  });
  return out;
}

Var gather(Tape& tape, Var x, const int32_t* rows, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    if (rows[i] < 0 || rows[i] >= x->data.rows) fail("gather: row {} of {}", rows[i], x->data.rows);
  }
  const int32_t* kept = tape.push_copy(rows, n);
  Tensor y = tape.push(n, x->data.cols);
  tape.kernels().gather(x->data, kept, y);
  Var out = tape.result(y, x->needs_grad);
  tape.on_backward(out, [=](Tape& t) {
    bool add = false;
    Tensor dx = t.grad_of(x, add);
    if (t.planning()) return;
    if (!add) std::fill_n(dx.f32(), dx.size(), 0.0f);
    Groups g = group_by_id(kept, n, -1);
    ScatterArgs args;
    args.grad = out->grad;
    args.out = dx.f32();
    args.ids = g.ids.data();
    args.start = g.start.data();
    args.order = g.order.data();
    args.num_unique = static_cast<int64_t>(g.ids.size());
    t.kernels().scatter(args);
  });
  return out;
}

Var cross_entropy(Tape& tape, Var logits, const int32_t* labels, double denominator, double* total) {
  for (int64_t r = 0; !tape.planning() && r < logits->data.rows; ++r) {
    if (labels[r] >= logits->data.cols)
      fail("label {} of row {} for {} classes", labels[r], r, logits->data.cols);
  }
  CrossEntropyArgs args;
  args.logits = logits->data;
  args.labels = labels;
  args.denominator = denominator;
  args.scratch = tape.push_array<double>(logits->data.rows);
  args.total = total;
  Tensor loss = tape.push(1, 1);
  args.loss = loss.f32();
  tape.kernels().cross_entropy(args);
  Var out = tape.result(loss, logits->needs_grad);
  tape.on_backward(out, [=](Tape& t) {
    bool add = false;
    CrossEntropyArgs b = args;
    b.dlogits = t.grad_of(logits, add);
    if (add) fail("cross_entropy: the logits must not be inputs of another operation");
    b.grad = out->grad.f32();
    t.kernels().cross_entropy(b);
  });
  return out;
}

namespace {

Var element_loss(Tape& tape, Var logits, Tensor targets, double denominator, double* total, bool squared) {
  ElementLossArgs args;
  args.logits = logits->data;
  args.targets = targets;
  args.denominator = denominator;
  args.total = total;
  args.squared = squared;
  Tensor loss = tape.push(1, 1);
  args.loss = loss.f32();
  tape.kernels().element_loss(args);
  Var out = tape.result(loss, logits->needs_grad);
  tape.on_backward(out, [=](Tape& t) {
    bool add = false;
    ElementLossArgs b = args;
    b.dlogits = t.grad_of(logits, add);
    if (add) fail("loss: the logits must not be inputs of another operation");
    b.grad = out->grad.f32();
    t.kernels().element_loss(b);
  });
  return out;
}

}  // namespace

Var binary_cross_entropy(Tape& tape, Var logits, Tensor targets, double denominator, double* total) {
  return element_loss(tape, logits, targets, denominator, total, false);
}

Var squared_error(Tape& tape, Var logits, Tensor targets, double denominator, double* total) {
  return element_loss(tape, logits, targets, denominator, total, true);
}

}  // namespace graft::engine
