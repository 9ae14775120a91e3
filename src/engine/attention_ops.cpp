#include "engine/attention_ops.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "engine/table_rows.h"

namespace graft::engine {
namespace {

// What the two kinds of attention share.
AttentionArgs make_attention_args(Tape& tape, const Slice& q, const AttentionOptions& options) {
  const int64_t T = q.v->data.rows, width = options.num_heads * options.head_dim;
  AttentionArgs args;
  args.q = q.v->data.columns(q.first, width);
  args.out = tape.push(T, width);
  args.out_bf16 = tape.push_bf16_copy(T, width);
  args.num_heads = options.num_heads;
  args.head_dim = options.head_dim;
  args.scale = options.scale;
  args.causal = options.causal;
  args.window = options.window;
  if (const Parameter* table = options.bias.table) {
    if (table->row_sparse || table->cols() != options.num_heads)
      fail("attention: the bias {} must be a dense [buckets, {}]", table->name, options.num_heads);
    args.bias = tape.parameters().value(*table);
    args.bucket = tape.on_device(options.bias.bucket, 2 * options.bias.max_position + 1);
    args.num_buckets = table->rows();
    args.bucket_zero = options.bias.max_position;
  }
  return args;
}

// Distances beyond the table of buckets would be read from other memory.
void check_positions(const AttentionOptions& options, const AttentionArgs& args) {
  if (!options.bias.table) return;
  int64_t last = 0;
  for (int64_t r = 0; r < args.q_rows.num_rows; ++r) last = std::max<int64_t>(last, args.q_rows.position[r]);
  for (int64_t s = 0; s < args.q_rows.num_sequences; ++s) last = std::max(last, args.num_keys(s) - 1);
  if (last > options.bias.max_position)
    fail("attention: position {} is beyond the {} of its bias", last, options.bias.max_position);
}

// Projections must be read whole: what is not read would have no gradient.
void check_slices(const Slice& q, const Slice& k, const Slice& v, int64_t width) {
  for (const Slice& one : {q, k, v}) {
    int64_t read = 0;
    for (const Slice& other : {q, k, v}) read += other.v == one.v ? width : 0;
    if (one.v->needs_grad && read != one.v->data.cols) {
      fail("attention: {} of the {} columns of a projection are read; the others would have no gradient",
           read, one.v->data.cols);
    }
  }
}

int32_t relative_bucket(int64_t distance, bool bidirectional, int64_t num_buckets, int64_t max_distance) {
  int64_t bucket = 0;
  if (bidirectional) {
    num_buckets /= 2;
    if (distance > 0) bucket = num_buckets;
    distance = std::abs(distance);
  } else {
    distance = std::max<int64_t>(-distance, 0);
  }
  const int64_t exact = num_buckets / 2;
  if (distance < exact) return static_cast<int32_t>(bucket + distance);
  // In fp32, as the reference: the logarithm is rounded at the edges of the buckets.
  const float ratio =
      std::log(static_cast<float>(distance) / static_cast<float>(exact)) /
      static_cast<float>(std::log(static_cast<double>(max_distance) / static_cast<double>(exact)));
  const auto steps = static_cast<int64_t>(ratio * static_cast<float>(num_buckets - exact));
  return static_cast<int32_t>(bucket + std::min(exact + steps, num_buckets - 1));
}

}  // namespace

AttentionBias relative_bias(Tape& tape, Parameter* table, bool bidirectional, int64_t max_distance,
                            int64_t max_position, int64_t num_buckets) {
  const int64_t buckets = num_buckets > 0 ? num_buckets : table->rows(),
                exact = buckets / (bidirectional ? 4 : 2);
  if (exact < 1 || max_distance <= exact || buckets > table->rows())
    fail("{}: {} buckets for distances up to {}", table->name, buckets, max_distance);
  auto* bucket = tape.push_array<int32_t>(2 * max_position + 1);
  for (int64_t d = -max_position; d <= max_position; ++d)
    bucket[d + max_position] = relative_bucket(d, bidirectional, buckets, max_distance);
  return {table, bucket, max_position};
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
  if (tape.record()) check_slices(q, k, v, width);
  AttentionArgs args = make_attention_args(tape, q, options);
  args.k = k.v->data.columns(k.first, width);
  args.v = v.v->data.columns(v.first, width);
  args.dropout = tape.dropout(options.dropout, scope);
  args.q_rows = q_rows;
  args.k_rows = k_rows;
  check_positions(options, args);
  Parameter* table = options.bias.table;
  const bool trains_bias = table && table->trainable,
             needs_grad = q.v->needs_grad || k.v->needs_grad || v.v->needs_grad || trains_bias;
  if (tape.record() && needs_grad) args.lse = tape.push_scratch<float>(q.v->data.rows * options.num_heads);
  args.q_rows = tape.on_device(q_rows);
  args.k_rows = tape.on_device(k_rows);
  tape.kernels().attention(args);
  Var y = tape.result(args.out, needs_grad, args.out_bf16);
  tape.note_rows(y, q_rows);
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
    if (trains_bias) {
      b.dbias = t.parameters().grad(*table);
      b.add_dbias = table->has_grad;
      b.bias_terms = t.take(k_rows.num_sequences * table->size);
      if (!t.planning()) table->has_grad = true;
    }
    t.kernels().attention_backward(b);
    if (trains_bias) t.give(b.bias_terms);
  });
  return y;
}

Var attention_cached(Tape& tape, Slice q, const CachedKeys& keys, const AttentionOptions& options,
                     const Rows& q_rows) {
  check_rows("attention_cached", q_rows, q.v->data.rows);
  if (tape.record() && q.v->needs_grad) fail("attention_cached: cached keys have no gradient");
  for (int64_t s = 0; s < q_rows.num_sequences; ++s) {
    if (keys.begin[s] >= 0 && keys.length[s] >= 0 &&
        keys.begin[s] + keys.length[s] <= std::min(keys.k.rows, keys.v.rows))
      continue;
    fail("attention_cached: sequence {} has keys {} to {} of {}", s, keys.begin[s],
         keys.begin[s] + keys.length[s], std::min(keys.k.rows, keys.v.rows));
  }
  AttentionArgs args = make_attention_args(tape, q, options);
  args.k = keys.k;
  args.v = keys.v;
  args.q_rows = q_rows;
  args.k_begin = keys.begin;
  args.k_length = keys.length;
  check_positions(options, args);
  args.q_rows = tape.on_device(q_rows);
  args.k_begin = tape.on_device(keys.begin, q_rows.num_sequences);
  args.k_length = tape.on_device(keys.length, q_rows.num_sequences);
  tape.kernels().attention(args);
  return tape.result(args.out, false, args.out_bf16);
}

void put_rows(Tape& tape, Slice x, const int64_t* rows, Tensor cache) {
  for (int64_t r = 0; r < x.v->data.rows; ++r) {
    if (rows[r] < 0 || rows[r] >= cache.rows) fail("put_rows: row {} of {}", rows[r], cache.rows);
  }
  if (x.first + cache.cols > x.v->data.cols)
    fail("put_rows: columns {} to {} of {}", x.first, x.first + cache.cols, x.v->data.cols);
  tape.kernels().put_rows(x.v->data.columns(x.first, cache.cols), tape.on_device(rows, x.v->data.rows),
                          cache);
}

namespace {

// f(first row, number) for each run of rows that are not negative.
template <class F>
void each_run(const int32_t* rows, int64_t n, F f) {
  for (int64_t begin = 0; begin < n; ++begin) {
    int64_t end = begin;
    while (end < n && rows[end] >= 0) ++end;
    if (end > begin) f(begin, end - begin);
    begin = end;
  }
}

// Rows [begin, begin + n) of some columns.
Tensor piece_of(Tensor t, int64_t begin, int64_t n, int64_t first, int64_t width) {
  Tensor part = t.columns(first, width);
  part.data = part.row(begin);
  part.rows = n;
  return part;
}

}  // namespace

Var replace_columns(Tape& tape, Slice x, int64_t width, Parameter& table, const int32_t* table_rows) {
  const Var v = x.v;
  const int64_t first = x.first, T = v->data.rows;
  if (first + width > v->data.cols || table.size % width != 0)
    fail("replace_columns: columns {} to {} of {} by rows of {} [{}, {}]", first, first + width, v->data.cols,
         table.name, table.rows(), table.cols());
  const Tensor rows = make_tensor(tape.parameters().value(table), table.size / width, width);
  for (int64_t r = 0; r < T; ++r)
    if (table_rows[r] >= rows.rows)
      fail("replace_columns: row {} of {}, which has {}", table_rows[r], table.name, rows.rows);
  const int32_t* on_device = tape.on_device(table_rows, T);
  each_run(table_rows, T, [&](int64_t begin, int64_t n) {
    tape.kernels().gather(rows, on_device + begin, piece_of(v->data, begin, n, first, width));
  });
  const Var out = tape.result(v->data, v->needs_grad || table.trainable);
  tape.note_rows(out, v);
  tape.on_backward(out, [=, trained = &table](Tape& t) {
    table_gradient(t, trained, table_rows, out->grad.columns(first, width));
    if (!v->needs_grad) return;
    each_run(table_rows, T, [&](int64_t begin, int64_t n) {
      t.kernels().basic(
          {.op = BasicOp::fill, .out = piece_of(out->grad, begin, n, first, width), .alpha = 0});
    });
    std::swap(v->grad, out->grad);  // no other operation reads v
  });
  return out;
}

RotaryTable rotary_table(Tape& tape, double theta, int64_t head_dim, int64_t num_positions) {
  if (head_dim % 2 != 0) fail("rotary positions need heads of an even size, not {}", head_dim);
  const Tensor table = tape.push(num_positions, head_dim);
  if (tape.planning()) return {table.f32(), num_positions, head_dim};
  const HostWrite values(tape.device(), table.f32(), table.size());
  const int64_t half = head_dim / 2;
  for (int64_t c = 0; c < half; ++c) {
    // Frequency and angle in fp32, as the reference.
    const float exponent = static_cast<float>(2 * c) / static_cast<float>(head_dim),
                frequency = 1 / std::pow(static_cast<float>(theta), exponent);
    for (int64_t p = 0; p < num_positions; ++p) {
      const float angle = static_cast<float>(p) * frequency;
      values.data()[p * head_dim + c] = std::cos(angle);
      values.data()[p * head_dim + half + c] = std::sin(angle);
    }
  }
  return {table.f32(), num_positions, head_dim};
}

Var rotary(Tape& tape, Var x, int64_t num_heads, const RotaryTable& table, const Rows& rows) {
  if (num_heads * table.head_dim > x->data.cols || rows.num_rows != x->data.rows)
    fail("rotary: {} heads of {} and {} rows for [{}, {}]", num_heads, table.head_dim, rows.num_rows,
         x->data.rows, x->data.cols);
  for (int64_t r = 0; r < rows.num_rows; ++r) {
    if (rows.position[r] >= table.num_positions)
      fail("rotary: position {} of {}", rows.position[r], table.num_positions);
  }
  RotaryArgs args;
  args.x = x->data.columns(0, num_heads * table.head_dim);
  args.num_heads = num_heads;
  args.head_dim = table.head_dim;
  args.table = table.values;
  args.position = tape.on_device(rows.position, rows.num_rows);
  tape.kernels().rotary(args);
  Var y = tape.result(x->data, x->needs_grad);
  tape.note_rows(y, x);
  tape.on_backward(y, [=](Tape& t) {
    if (x->grad) fail("rotary: x must not be an input of another operation");
    RotaryArgs back = args;
    back.x = y->grad.columns(0, args.x.cols);
    back.backward = true;
    t.kernels().rotary(back);
    x->grad = y->grad;
    y->grad = {};
  });
  return y;
}

}  // namespace graft::engine
