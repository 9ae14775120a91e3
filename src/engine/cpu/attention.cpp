// Ragged attention, forward and backward: one (sequence, head) at a time, queries and keys in blocks, the
// softmax rescaled as blocks arrive (Dao et al. 2022). What is kept for the backward pass is one number per
// query and head.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/cpu/attention.cpp"
#include <hwy/foreach_target.h>
// foreach_target comes first
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>

#include "base/threads.h"
#include "engine/cpu/attention-inl.h"
#include "engine/cpu/cpu_kernels.h"
#include "engine/cpu/scratch.h"

HWY_BEFORE_NAMESPACE();
namespace graft::engine::cpu::HWY_NAMESPACE {

// Blocks of keys [begin, end) that the queries at rows [row, row + nq) see; the others are masked for all.
struct KeyRange {
  int64_t begin, end;
};
HWY_INLINE KeyRange visible_blocks(const AttentionArgs& a, const Unit& u, int64_t row, int64_t nq) {
  if (a.window < 0 && !a.causal) return {0, u.Lk};
  KeyRange out{u.Lk, 0};
  for (int64_t i = 0; i < nq; ++i) {
    int64_t low = 0, high = 0;
    visible(a, u, a.q_rows.position[row + i], low, high);
    if (low >= high) continue;
    out = {std::min(out.begin, low), std::max(out.end, high)};
  }
  return {out.begin / kKeys * kKeys, out.end};
}

// Distances j - i of the queries and keys of a unit: [first, first + count).
struct Distances {
  int64_t first, count;
};
HWY_INLINE Distances distances_of(const AttentionArgs& a, const Unit& u) {
  if (u.Lq == 0 || u.Lk == 0) return {0, 0};
  const auto [low, high] = std::minmax_element(a.q_rows.position + u.q0, a.q_rows.position + u.q0 + u.Lq);
  return {-*high, u.Lk + *high - *low};
}
HWY_INLINE int64_t bucket_at(const AttentionArgs& a, int64_t distance) {
  return a.bucket[distance + a.bucket_zero];
}

// The biases of this head by distance; null without a bias. Memory of slot 6.
HWY_INLINE const float* head_biases(const AttentionArgs& a, const Unit& u, const Distances& distances) {
  if (!a.bias) return nullptr;
  float* out = float_scratch(6, 2 * distances.count);  // the second half: head_bias_gradient
  for (int64_t i = 0; i < distances.count; ++i)
    out[i] = a.bias[bucket_at(a, distances.first + i) * a.num_heads + u.head];
  return out;
}

// s = s * scale + bias
HWY_INLINE void add_bias(float* s, int64_t n, float scale, const float* bias) {
  const V factor = hn::Set(D(), scale);
  for_vectors(n, [&](int64_t j, auto io)
                     HWY_ATTR { io.store(hn::MulAdd(io.load(s + j), factor, io.load(bias + j)), s + j); });
}

void attention_unit(const AttentionArgs& a, int64_t task) {
  const D d;
  const Unit u = unit_of(a, task);
  if (u.Lq == 0) return;
  const Panels kt = pack_transposed(head_row(a.k, u.k0, u), a.k.stride, u.Lk, u.d,
                                    float_scratch(0, panels_size(u.d, u.Lk)));
  const Panels v =
      pack_rows(head_row(a.v, u.k0, u), a.v.stride, u.Lk, u.d, float_scratch(1, panels_size(u.Lk, u.d)));
  float* s = float_scratch(2, kQueries * kKeys);
  float *acc = float_scratch(3, kQueries * (u.dp + u.d)), *query = acc + kQueries * u.dp;
  const bool drop = a.dropout.threshold() > 0;
  const Distances distances = a.bias ? distances_of(a, u) : Distances{};
  const float* bias = head_biases(a, u, distances);
  const float scale = bias ? 1.0f : a.scale;  // add_bias scales
  HWY_ALIGN float factors[kKeys];
  float max[kQueries], sum[kQueries];
  for (int64_t i0 = 0; i0 < u.Lq; i0 += kQueries) {
    const int64_t nq = std::min(kQueries, u.Lq - i0), row = u.q0 + i0;
    const Strided q = dense_rows(a.q, row, nq, u, query);
    std::fill(max, max + nq, kMasked);
    std::fill(sum, sum + nq, 0.0f);
    const KeyRange keys = visible_blocks(a, u, row, nq);
    if (keys.begin >= keys.end) std::fill(acc, acc + nq * u.dp, 0.0f);
    for (int64_t j0 = keys.begin; j0 < keys.end; j0 += kKeys) {
      const int64_t nk = std::min(kKeys, u.Lk - j0);
      small_gemm(nq, nk, u.d, q, from_key(kt, j0), s, kKeys, false);
      for (int64_t i = 0; i < nq; ++i) {
        int64_t low = 0, high = 0;
        visible(a, u, a.q_rows.position[row + i], low, high);
        float* p = s + i * kKeys;
        if (bias) add_bias(p, nk, a.scale, bias + (j0 - a.q_rows.position[row + i] - distances.first));
        const float shrink = softmax_block(p, nk, low - j0, high - j0, scale, max[i], sum[i]);
        if (j0 > keys.begin && shrink != 1.0f) {
          const V vs = hn::Set(d, shrink);
          for_vectors(u.dp, [&](int64_t c, auto io) HWY_ATTR {
            io.store(hn::Mul(io.load(acc + i * u.dp + c), vs), acc + i * u.dp + c);
          });
        }
        if (drop) {
          key_factors(a, u, row + i, j0, nk, factors);
          for_vectors(nk, [&](int64_t j, auto io)
                              HWY_ATTR { io.store(hn::Mul(io.load(p + j), io.load(factors + j)), p + j); });
        }
      }
      small_gemm(nq, u.dp, nk, {s, kKeys, 1}, from_row(v, j0), acc, u.dp, j0 > keys.begin);
    }
    store_context(a, u, row, nq, acc, max, sum);
  }
}

// The biases of a head by distance, and their gradient.
struct BiasGradient {
  Distances distances;
  const float* bias;
  float* gradient;  // null = not computed
};

// Sums of the gradient over the distances of each bucket.
HWY_INLINE void store_bias_terms(const AttentionArgs& a, const BiasGradient& g, float* terms) {
  std::fill(terms, terms + a.num_buckets, 0.0f);
  for (int64_t i = 0; i < g.distances.count; ++i) terms[bucket_at(a, g.distances.first + i)] += g.gradient[i];
}

// Scores and dP of a block of queries and keys into P * dropout and dS.
HWY_INLINE void block_gradient(const AttentionArgs& a, const Unit& u, const BiasGradient& g, int64_t row,
                               int64_t nq, int64_t j0, int64_t nk, const float* dot, float* s, float* ds) {
  HWY_ALIGN float factors[kKeys];
  const bool drop = a.dropout.threshold() > 0;
  for (int64_t i = 0; i < nq; ++i) {
    const int64_t position = a.q_rows.position[row + i], at = j0 - position - g.distances.first;
    int64_t low = 0, high = 0;
    visible(a, u, position, low, high);
    if (drop) key_factors(a, u, row + i, j0, nk, factors);
    float *p = s + i * kKeys, *dp = ds + i * kKeys;
    if (g.bias) add_bias(p, nk, a.scale, g.bias + at);
    score_gradient(p, dp, nk, low - j0, high - j0, g.bias ? 1.0f : a.scale,
                   a.lse[(row + i) * a.num_heads + u.head], dot[i], drop ? factors : nullptr);
    if (!g.bias) continue;
    float* gradient = g.gradient ? g.gradient + at : nullptr;
    const V scale = hn::Set(D(), a.scale);
    for_vectors(nk, [&](int64_t j, auto io) HWY_ATTR {
      const V v = io.load(dp + j);
      if (gradient) io.store(hn::Add(io.load(gradient + j), v), gradient + j);
      io.store(hn::Mul(v, scale), dp + j);
    });
  }
}

void attention_backward_unit(const AttentionBackwardArgs& b, int64_t task) {
  const AttentionArgs& a = b.forward;
  const Unit u = unit_of(a, task);
  const int64_t across = panels_size(u.d, u.Lk), along = panels_size(u.Lk, u.d);
  float* packed = float_scratch(0, 2 * across + along);
  const Panels kt = pack_transposed(head_row(a.k, u.k0, u), a.k.stride, u.Lk, u.d, packed),
               vt = pack_transposed(head_row(a.v, u.k0, u), a.v.stride, u.Lk, u.d, packed + across),
               k = pack_rows(head_row(a.k, u.k0, u), a.k.stride, u.Lk, u.d, packed + 2 * across);
  float *dk = float_scratch(1, 2 * u.Lk * u.dp), *dv = dk + u.Lk * u.dp;
  float *s = float_scratch(2, 2 * kQueries * kKeys), *ds = s + kQueries * kKeys;
  const int64_t block = panels_size(kQueries, u.d);
  float *dq = float_scratch(3, 2 * block + kQueries * (u.dp + 2 * u.d)), *q_panels = dq + kQueries * u.dp,
        *dout_panels = q_panels + block, *query = dout_panels + block, *gradient = query + kQueries * u.d;
  BiasGradient bias{};
  if (a.bias) {
    bias.distances = distances_of(a, u);
    bias.bias = head_biases(a, u, bias.distances);
    if (b.dbias) bias.gradient = const_cast<float*>(bias.bias) + bias.distances.count;
    if (b.dbias) std::fill_n(bias.gradient, bias.distances.count, 0.0f);
  }
  // Blocks that the first queries do not see are added to, as well.
  const bool skips = a.window >= 0 || a.causal;
  if (u.Lq == 0 || skips) std::fill(dk, dk + 2 * u.Lk * u.dp, 0.0f);
  for (int64_t i0 = 0; i0 < u.Lq; i0 += kQueries) {
    const int64_t nq = std::min(kQueries, u.Lq - i0), row = u.q0 + i0;
    const Strided q_rows = dense_rows(a.q, row, nq, u, query),
                  dout_rows = dense_rows(b.dout, row, nq, u, gradient);
    const Panels q = pack_rows(query, u.d, nq, u.d, q_panels),
                 dout = pack_rows(gradient, u.d, nq, u.d, dout_panels);
    float dot[kQueries];
    row_products(a, u, row, nq, gradient, dot);
    const KeyRange keys = visible_blocks(a, u, row, nq);
    if (keys.begin >= keys.end) std::fill(dq, dq + nq * u.dp, 0.0f);
    for (int64_t j0 = keys.begin; j0 < keys.end; j0 += kKeys) {
      const int64_t nk = std::min(kKeys, u.Lk - j0);
      small_gemm(nq, nk, u.d, q_rows, from_key(kt, j0), s, kKeys, false);
      small_gemm(nq, nk, u.d, dout_rows, from_key(vt, j0), ds, kKeys, false);
      block_gradient(a, u, bias, row, nq, j0, nk, dot, s, ds);
      if (b.dv) small_gemm(nk, u.dp, nq, {s, 1, kKeys}, dout, dv + j0 * u.dp, u.dp, skips || i0 > 0);
      if (b.dk) small_gemm(nk, u.dp, nq, {ds, 1, kKeys}, q, dk + j0 * u.dp, u.dp, skips || i0 > 0);
      if (b.dq) small_gemm(nq, u.dp, nk, {ds, kKeys, 1}, from_row(k, j0), dq, u.dp, j0 > keys.begin);
    }
    for (int64_t i = 0; b.dq && i < nq; ++i) std::copy_n(dq + i * u.dp, u.d, head_row(b.dq, row + i, u));
  }
  for (int64_t j = 0; j < u.Lk; ++j) {
    if (b.dk) std::copy_n(dk + j * u.dp, u.d, head_row(b.dk, u.k0 + j, u));
    if (b.dv) std::copy_n(dv + j * u.dp, u.d, head_row(b.dv, u.k0 + j, u));
  }
  if (b.dbias) store_bias_terms(a, bias, b.bias_terms + task * a.num_buckets);
}

// A unit of at most kFew queries (a decoder's next token): keys and values are read in place, one after the
// other, instead of packed.
constexpr int64_t kFew = 4;
void few_queries_unit(const AttentionArgs& a, int64_t task) {
  const Unit u = unit_of(a, task);
  float *scores = float_scratch(0, u.Lq * u.Lk), *acc = float_scratch(1, u.d);
  const Distances distances = a.bias ? distances_of(a, u) : Distances{};
  const float* bias = head_biases(a, u, distances);
  for (int64_t j = 0; j < u.Lk; ++j) {
    const float* key = head_row(a.k, u.k0 + j, u);
    for (int64_t i = 0; i < u.Lq; ++i) {
      const float* query = head_row(a.q, u.q0 + i, u);
      V sum = hn::Zero(D());
      for_vectors(u.d, [&](int64_t c, auto io)
                           HWY_ATTR { sum = hn::MulAdd(io.load(query + c), io.load(key + c), sum); });
      scores[i * u.Lk + j] = sum_of(sum);
    }
  }
  for (int64_t i = 0; i < u.Lq; ++i) {
    const int64_t row = u.q0 + i, position = a.q_rows.position[row];
    int64_t low = 0, high = 0;
    visible(a, u, position, low, high);
    float *p = scores + i * u.Lk, max = kMasked, sum = 0;
    if (bias) add_bias(p, u.Lk, a.scale, bias + (-position - distances.first));
    softmax_block(p, u.Lk, low, high, bias ? 1.0f : a.scale, max, sum);
    std::fill(acc, acc + u.d, 0.0f);
    for (int64_t j = std::max<int64_t>(low, 0); j < std::min(high, u.Lk); ++j) {
      const float* value = head_row(a.v, u.k0 + j, u);
      const V weight = hn::Set(D(), p[j]);
      for_vectors(u.d, [&](int64_t c, auto io) HWY_ATTR {
        io.store(hn::MulAdd(weight, io.load(value + c), io.load(acc + c)), acc + c);
      });
    }
    const V inverse = hn::Set(D(), inverse_of(a, u, position, sum));
    float* out = head_row(a.out, row, u);
    for_vectors(u.d,
                [&](int64_t c, auto io) HWY_ATTR { io.store(hn::Mul(io.load(acc + c), inverse), out + c); });
    if (a.out_bf16) round_to_bf16(out, bf16_row(a.out_bf16, row) + u.head * u.d, u.d);
  }
}

HWY_INLINE bool has_few_queries(const AttentionArgs& a, int64_t task) {
  const int64_t s = task / a.num_heads;
  return a.k_begin && a.q_rows.cu_seqlens[s + 1] - a.q_rows.cu_seqlens[s] <= kFew;
}

void attention_task(const AttentionArgs& a, int64_t task) {
  has_few_queries(a, task) ? few_queries_unit(a, task) : attention_unit(a, task);
}

}  // namespace graft::engine::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace graft::engine::cpu {

HWY_EXPORT(attention_task);
HWY_EXPORT(attention_backward_unit);

void attention(const AttentionArgs& args) {
  parallel_for(args.q_rows.num_sequences * args.num_heads, [&](int64_t task) {
    HWY_DYNAMIC_DISPATCH(attention_task)(args, task);
  });
  clear_padding(args.out_bf16);
}

void attention_backward(const AttentionBackwardArgs& args) {
  const AttentionArgs& a = args.forward;
  parallel_for(a.k_rows.num_sequences * a.num_heads, [&](int64_t task) {
    HWY_DYNAMIC_DISPATCH(attention_backward_unit)(args, task);
  });
  if (!args.dbias) return;
  parallel_for(a.num_heads, [&](int64_t head) {
    for (int64_t bucket = 0; bucket < a.num_buckets; ++bucket) {
      double sum = 0;
      for (int64_t s = 0; s < a.k_rows.num_sequences; ++s)
        sum += static_cast<double>(args.bias_terms[(s * a.num_heads + head) * a.num_buckets + bucket]);
      float& out = args.dbias[bucket * a.num_heads + head];
      out = args.add_dbias ? out + static_cast<float>(sum) : static_cast<float>(sum);
    }
  });
}

}  // namespace graft::engine::cpu
#endif
