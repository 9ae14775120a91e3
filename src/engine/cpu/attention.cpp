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
#include "engine/cpu/cpu_kernels.h"
#include "engine/cpu/scratch.h"
#include "engine/cpu/small_gemm-inl.h"

HWY_BEFORE_NAMESPACE();
namespace graft::engine::cpu::HWY_NAMESPACE {

constexpr int64_t kQueries = 32, kKeys = 256;  // a block of scores is 32 KB
constexpr float kMasked = -1e30f;

// One (sequence, head): where its rows are, and how many.
struct Unit {
  int64_t sequence, head, q0, Lq, k0, Lk, d, dp;  // dp: d rounded up to whole vectors
};

HWY_INLINE Unit unit_of(const AttentionArgs& a, int64_t task) {
  Unit u{};
  u.sequence = task / a.num_heads;
  u.head = task % a.num_heads;
  u.q0 = a.q_rows.cu_seqlens[u.sequence];
  u.Lq = a.q_rows.cu_seqlens[u.sequence + 1] - u.q0;
  u.k0 = a.k_rows.cu_seqlens[u.sequence];
  u.Lk = a.k_rows.cu_seqlens[u.sequence + 1] - u.k0;
  u.d = a.head_dim;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(D()));
  u.dp = (u.d + lanes - 1) / lanes * lanes;
  return u;
}

// out[d][ld] = rows [row, row + n) of t's columns of this head, transposed; columns up to ld are zero.
HWY_INLINE void pack_transposed(Tensor t, int64_t row, int64_t n, const Unit& u, float* out, int64_t ld) {
  for (int64_t c = 0; c < u.d; ++c) {
    float* to = out + c * ld;
    const float* from = t.row(row) + u.head * u.d + c;
    for (int64_t r = 0; r < n; ++r) to[r] = from[r * t.stride];
    std::fill(to + n, to + ld, 0.0f);
  }
}

// Rows as a right factor: t itself where a row is whole vectors, else a padded copy in `out`.
struct Factor {
  const float* p;
  int64_t ld;
};
HWY_INLINE Factor right_factor(Tensor t, int64_t row, int64_t n, const Unit& u, float* out) {
  if (u.d == u.dp) return {t.row(row) + u.head * u.d, t.stride};
  for (int64_t r = 0; r < n; ++r) {
    std::copy_n(t.row(row + r) + u.head * u.d, u.d, out + r * u.dp);
    std::fill(out + r * u.dp + u.d, out + (r + 1) * u.dp, 0.0f);
  }
  return {out, u.dp};
}

HWY_INLINE int64_t padded_keys(int64_t n) { return (n + 15) / 16 * 16; }

// Keys [low, high) that the query at `position` sees.
HWY_INLINE void visible(const AttentionArgs& a, const Unit& u, int64_t position, int64_t& low,
                        int64_t& high) {
  low = a.window >= 0 ? std::max<int64_t>(0, position - a.window) : 0;
  high = a.window >= 0 ? std::min<int64_t>(u.Lk, position + a.window + 1) : u.Lk;
  if (a.causal) high = std::min(high, position + 1);
}

// Factors of attention dropout for one query over keys [0, Lk) of this head.
HWY_INLINE void key_factors(const AttentionArgs& a, const Unit& u, int64_t q_row, float* out) {
  dropout_factors(a.dropout, a.q_rows.example[u.sequence], a.q_rows.position[q_row],
                  static_cast<uint32_t>(u.head) + 1, u.Lk, out);
}

// Turns a row of scores for keys [j0, j0 + n) into exp(score * scale - max), keeps max and sum up to date;
// returns the factor by which what was summed before shrinks.
HWY_INLINE float softmax_block(float* s, int64_t n, int64_t low, int64_t high, float scale, float& max,
                               float& sum) {
  const D d;
  for (int64_t j = 0; j < std::min(low, n); ++j) s[j] = kMasked;
  for (int64_t j = std::max<int64_t>(high, 0); j < n; ++j) s[j] = kMasked;
  V top = hn::Set(d, kMasked);
  const V factor = hn::Set(d, scale);
  for_vectors(n, [&](int64_t j, auto io) HWY_ATTR { top = hn::Max(top, io.load_or(s + j, kMasked)); });
  const float block_max = max_of(top) * scale;
  const float next = std::max(max, block_max);
  const V shift = hn::Set(d, next);
  V total = hn::Zero(d);
  for_vectors(n, [&](int64_t j, auto io) HWY_ATTR {
    const V x = io.load(s + j);
    const V e = hn::IfThenZeroElse(hn::Le(x, hn::Set(d, kMasked)), hn::Exp(d, hn::MulSub(x, factor, shift)));
    io.store(e, s + j);
    total = hn::Add(total, io.keep(e));
  });
  const float shrink = max <= kMasked ? 0.0f : std::exp(max - next);
  sum = sum * shrink + sum_of(total);
  max = next;
  return shrink;
}

void attention_unit(const AttentionArgs& a, int64_t task) {
  const D d;
  const Unit u = unit_of(a, task);
  if (u.Lq == 0) return;
  const int64_t ld = padded_keys(u.Lk), lds = std::min(ld, kKeys);
  float* kt = float_scratch(0, u.d * ld + 64);
  float* vp = float_scratch(1, u.Lk * u.dp);
  float* s = float_scratch(2, kQueries * lds + 64);
  float* acc = float_scratch(3, kQueries * u.dp);
  const bool drop = a.dropout.threshold() > 0;
  float* factors = float_scratch(4, (drop ? kQueries : 0) * (u.Lk + 128));
  pack_transposed(a.k, u.k0, u.Lk, u, kt, ld);
  const Factor v = right_factor(a.v, u.k0, u.Lk, u, vp);
  float max[kQueries], sum[kQueries];
  for (int64_t i0 = 0; i0 < u.Lq; i0 += kQueries) {
    const int64_t nq = std::min(kQueries, u.Lq - i0), row = u.q0 + i0;
    std::fill(max, max + nq, kMasked);
    std::fill(sum, sum + nq, 0.0f);
    std::fill(acc, acc + nq * u.dp, 0.0f);
    for (int64_t i = 0; drop && i < nq; ++i) key_factors(a, u, row + i, factors + i * (u.Lk + 128));
    for (int64_t j0 = 0; j0 < u.Lk; j0 += kKeys) {
      const int64_t nk = std::min(kKeys, u.Lk - j0);
      small_gemm(nq, nk, u.d, {a.q.row(row) + u.head * u.d, a.q.stride, 1}, kt + j0, ld, s, lds, false);
      for (int64_t i = 0; i < nq; ++i) {
        int64_t low = 0, high = 0;
        visible(a, u, a.q_rows.position[row + i], low, high);
        float* p = s + i * lds;
        const float shrink = softmax_block(p, nk, low - j0, high - j0, a.scale, max[i], sum[i]);
        if (j0 > 0) {
          const V vs = hn::Set(d, shrink);
          for_vectors(u.dp, [&](int64_t c, auto io) HWY_ATTR {
            io.store(hn::Mul(io.load(acc + i * u.dp + c), vs), acc + i * u.dp + c);
          });
        }
        if (drop) {
          const float* f = factors + i * (u.Lk + 128) + j0;
          for_vectors(nk, [&](int64_t j, auto io)
                              HWY_ATTR { io.store(hn::Mul(io.load(p + j), io.load(f + j)), p + j); });
        }
      }
      small_gemm(nq, u.dp, nk, {s, lds, 1}, v.p + j0 * v.ld, v.ld, acc, u.dp, true);
    }
    for (int64_t i = 0; i < nq; ++i) {
      const V inverse = hn::Set(d, sum[i] > 0 ? 1.0f / sum[i] : 0.0f);
      float* out = a.out.row(row + i) + u.head * u.d;
      for_vectors(u.d, [&](int64_t c, auto io)
                           HWY_ATTR { io.store(hn::Mul(io.load(acc + i * u.dp + c), inverse), out + c); });
      if (a.lse) a.lse[(row + i) * a.num_heads + u.head] = max[i] + std::log(sum[i]);
    }
  }
}

// From scores and dP of one query's block: p becomes P * dropout (for dV), ds the gradient of the scores.
HWY_INLINE void score_gradient(float* p, float* ds, int64_t n, int64_t low, int64_t high, float scale,
                               float lse, float dot, const float* factors) {
  const D d;
  const V vs = hn::Set(d, scale), vl = hn::Set(d, lse), vd = hn::Set(d, dot);
  for_vectors(n, [&](int64_t j, auto io) HWY_ATTR {
    const V prob = hn::Exp(d, hn::MulSub(io.load(p + j), vs, vl));
    const V dp = io.load(ds + j);
    if (factors) {
      const V f = io.load(factors + j);
      io.store(hn::Mul(prob, f), p + j);
      io.store(hn::Mul(hn::Mul(prob, hn::MulSub(dp, f, vd)), vs), ds + j);
    } else {
      io.store(prob, p + j);
      io.store(hn::Mul(hn::Mul(prob, hn::Sub(dp, vd)), vs), ds + j);
    }
  });
  for (int64_t j = 0; j < std::min(low, n); ++j) p[j] = ds[j] = 0;
  for (int64_t j = std::max<int64_t>(high, 0); j < n; ++j) p[j] = ds[j] = 0;
}

void attention_backward_unit(const AttentionBackwardArgs& b, int64_t task) {
  const D d;
  const AttentionArgs& a = b.forward;
  const Unit u = unit_of(a, task);
  const int64_t ld = padded_keys(u.Lk), lds = std::min(ld, kKeys), head = u.head * u.d;
  const bool drop = a.dropout.threshold() > 0;
  float* kt = float_scratch(0, 2 * u.d * ld + 64);
  float* vt = kt + u.d * ld;
  float* dk = float_scratch(1, 3 * u.Lk * u.dp);
  float *dv = dk + u.Lk * u.dp, *kp = dv + u.Lk * u.dp;
  float* s = float_scratch(2, 2 * kQueries * lds + 64);
  float* ds = s + kQueries * lds;
  float* dq = float_scratch(3, 3 * kQueries * u.dp);
  float *qp = dq + kQueries * u.dp, *op = qp + kQueries * u.dp;
  float* factors = float_scratch(4, (drop ? kQueries : 0) * (u.Lk + 128));
  pack_transposed(a.k, u.k0, u.Lk, u, kt, ld);
  pack_transposed(a.v, u.k0, u.Lk, u, vt, ld);
  const Factor k = right_factor(a.k, u.k0, u.Lk, u, kp);
  std::fill(dk, dk + 2 * u.Lk * u.dp, 0.0f);
  for (int64_t i0 = 0; i0 < u.Lq; i0 += kQueries) {
    const int64_t nq = std::min(kQueries, u.Lq - i0), row = u.q0 + i0;
    const Factor q = right_factor(a.q, row, nq, u, qp), dout = right_factor(b.dout, row, nq, u, op);
    float dot[kQueries];
    for (int64_t i = 0; i < nq; ++i) {
      V sum = hn::Zero(d);
      for_vectors(u.d, [&](int64_t c, auto io) HWY_ATTR {
        sum =
            hn::MulAdd(io.load(b.dout.row(row + i) + head + c), io.load(a.out.row(row + i) + head + c), sum);
      });
      dot[i] = sum_of(sum);
      if (drop) key_factors(a, u, row + i, factors + i * (u.Lk + 128));
    }
    for (int64_t j0 = 0; j0 < u.Lk; j0 += kKeys) {
      const int64_t nk = std::min(kKeys, u.Lk - j0);
      small_gemm(nq, nk, u.d, {a.q.row(row) + head, a.q.stride, 1}, kt + j0, ld, s, lds, false);
      small_gemm(nq, nk, u.d, {b.dout.row(row) + head, b.dout.stride, 1}, vt + j0, ld, ds, lds, false);
      for (int64_t i = 0; i < nq; ++i) {
        int64_t low = 0, high = 0;
        visible(a, u, a.q_rows.position[row + i], low, high);
        score_gradient(s + i * lds, ds + i * lds, nk, low - j0, high - j0, a.scale,
                       a.lse[(row + i) * a.num_heads + u.head], dot[i],
                       drop ? factors + i * (u.Lk + 128) + j0 : nullptr);
      }
      small_gemm(nk, u.dp, nq, {s, 1, lds}, dout.p, dout.ld, dv + j0 * u.dp, u.dp, true);
      small_gemm(nk, u.dp, nq, {ds, 1, lds}, q.p, q.ld, dk + j0 * u.dp, u.dp, true);
      small_gemm(nq, u.dp, nk, {ds, lds, 1}, k.p + j0 * k.ld, k.ld, dq, u.dp, j0 > 0);
    }
    for (int64_t i = 0; i < nq; ++i) std::copy_n(dq + i * u.dp, u.d, b.dq.row(row + i) + head);
  }
  for (int64_t j = 0; j < u.Lk; ++j) {
    std::copy_n(dk + j * u.dp, u.d, b.dk.row(u.k0 + j) + head);
    std::copy_n(dv + j * u.dp, u.d, b.dv.row(u.k0 + j) + head);
  }
}

}  // namespace graft::engine::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace graft::engine::cpu {

HWY_EXPORT(attention_unit);
HWY_EXPORT(attention_backward_unit);

void attention(const AttentionArgs& args) {
  parallel_for(args.k_rows.num_sequences * args.num_heads, [&](int64_t task) {
    HWY_DYNAMIC_DISPATCH(attention_unit)(args, task);
  });
}

void attention_backward(const AttentionBackwardArgs& args) {
  parallel_for(args.forward.k_rows.num_sequences * args.forward.num_heads, [&](int64_t task) {
    HWY_DYNAMIC_DISPATCH(attention_backward_unit)(args, task);
  });
}

}  // namespace graft::engine::cpu
#endif
