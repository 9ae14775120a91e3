#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "engine/attention_ops.h"

namespace graft::engine {
namespace {

// transformers 5.24, make_log_bucket_position, of query - key; the logarithm in fp32, as there.
int64_t log_bucket(int64_t distance, int64_t buckets, int64_t max_distance) {
  const int64_t middle = buckets / 2, size = std::abs(distance);
  if (size <= middle) return distance;
  const float ratio =
      std::log(static_cast<float>(size) / static_cast<float>(middle)) /
      std::log(static_cast<float>(static_cast<double>(max_distance - 1) / static_cast<double>(middle)));
  const auto steps = static_cast<int64_t>(std::ceil(ratio * static_cast<float>(middle - 1))) + middle;
  return distance > 0 ? steps : -steps;
}

}  // namespace

RelativeRows log_relative_rows(Tape& tape, int64_t buckets, int64_t max_distance, int64_t max_position) {
  const int64_t span = buckets > 0 ? buckets : max_distance;
  if (span < 2 || max_distance <= span / 2 + 1)
    fail("relative positions: {} buckets for distances up to {}", span, max_distance);
  const auto id_of = [&](int64_t query_minus_key) {
    const int64_t bucket = buckets > 0 ? log_bucket(query_minus_key, buckets, max_distance) : query_minus_key;
    return static_cast<int32_t>(std::clamp<int64_t>(bucket + span, 0, 2 * span - 1));
  };
  RelativeRows out;
  out.max_position = max_position;
  const int32_t last = id_of(max_position), first = id_of(-max_position);
  out.n = last - first + 1;
  auto* ids = tape.push_array<int32_t>(out.n);
  for (int64_t r = 0; r < out.n; ++r) ids[r] = last - static_cast<int32_t>(r);
  auto* row = tape.push_array<int32_t>(2 * max_position + 1);
  for (int64_t d = -max_position; d <= max_position; ++d) row[d + max_position] = last - id_of(-d);
  out.ids = ids;
  out.row = row;
  return out;
}

Var disentangled_attention(Tape& tape, Slice q, Slice k, Slice v, const DisentangledPositions& positions,
                           const AttentionOptions& options, std::string_view scope, const Rows& q_rows,
                           const Rows& k_rows) {
  const int64_t width = options.num_heads * options.head_dim, n = positions.rows.n;
  check_rows("disentangled_attention", q_rows, q.v->data.rows);
  check_rows("disentangled_attention", k_rows, k.v->data.rows);
  if (q_rows.num_sequences != k_rows.num_sequences || k.v->data.rows != v.v->data.rows)
    fail("disentangled_attention: queries of {} sequences, keys of {} with {} rows, values with {} rows",
         q_rows.num_sequences, k_rows.num_sequences, k.v->data.rows, v.v->data.rows);
  if (options.causal || options.window >= 0 || options.bias.table)
    fail("disentangled_attention: all keys are visible, and there is no bias");
  for (const Slice& p : {positions.key, positions.query})
    if (p.v && (p.v->data.rows != n || p.first + width > p.v->data.cols))
      fail("disentangled_attention: positions [{}, {}] for {} rows of {} columns", p.v->data.rows,
           p.v->data.cols, n, width);
  for (const Rows* rows : {&q_rows, &k_rows})
    for (int64_t r = 0; r < rows->num_rows; ++r)
      if (rows->position[r] > positions.rows.max_position)
        fail("disentangled_attention: position {} is beyond {}", rows->position[r],
             positions.rows.max_position);
  const int64_t T = q.v->data.rows;
  DisentangledArgs args;
  AttentionArgs& a = args.attention;
  a.q = q.v->data.columns(q.first, width);
  a.k = k.v->data.columns(k.first, width);
  a.v = v.v->data.columns(v.first, width);
  a.out = tape.push(T, width);
  a.out_bf16 = tape.push_bf16_copy(T, width);
  a.num_heads = options.num_heads;
  a.head_dim = options.head_dim;
  a.scale = options.scale;
  a.dropout = tape.dropout(options.dropout, scope);
  a.q_rows = tape.on_device(q_rows);
  a.k_rows = tape.on_device(k_rows);
  const auto part_of = [&](const Slice& p) { return p.v ? p.v->data.columns(p.first, width) : Tensor{}; };
  args.pos_key = part_of(positions.key);
  args.pos_query = part_of(positions.query);
  args.pos_row = tape.on_device(positions.rows.row, 2 * positions.rows.max_position + 1);
  args.pos_zero = positions.rows.max_position;
  bool needs_grad = false;
  for (const Slice& one : {q, k, v, positions.key, positions.query}) needs_grad |= one.v && one.v->needs_grad;
  if (tape.record() && needs_grad) a.lse = tape.push_scratch<float>(T * options.num_heads);
  tape.kernels().disentangled(args);
  Var y = tape.result(a.out, needs_grad, a.out_bf16);
  tape.note_rows(y, q_rows);
  const Slice pos_key = positions.key, pos_query = positions.query;
  tape.on_backward(y, [=](Tape& t) {
    if (q.v->grad || k.v->grad || v.v->grad || (pos_key.v && pos_key.v->grad) ||
        (pos_query.v && pos_query.v->grad))
      fail("disentangled_attention: its inputs must not be inputs of another operation");
    const auto gradient_of = [&](const Slice& slice) {
      bool add = false;
      return slice.v && slice.v->needs_grad ? t.grad_of(slice.v, add).columns(slice.first, width) : Tensor{};
    };
    DisentangledBackwardArgs b;
    b.forward = args;
    b.dout = y->grad;
    b.dq = gradient_of(q);
    b.dk = gradient_of(k);
    b.dv = gradient_of(v);
    b.dpos_key = gradient_of(pos_key);
    b.dpos_query = gradient_of(pos_query);
    b.terms = t.take(b.terms_size());
    t.kernels().disentangled_backward(b);
    t.give(b.terms);
  });
  return y;
}

}  // namespace graft::engine
