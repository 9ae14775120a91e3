// What the kernels of attention share: a unit of one (sequence, head), the softmax of a block of scores and
// its gradient; included once per Highway target.
#if defined(GRAFT_ENGINE_CPU_ATTENTION_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GRAFT_ENGINE_CPU_ATTENTION_INL_H_
#undef GRAFT_ENGINE_CPU_ATTENTION_INL_H_
#else
#define GRAFT_ENGINE_CPU_ATTENTION_INL_H_
#endif

#include <algorithm>
#include <cmath>

#include "engine/cpu/cpu_kernels.h"
#include "engine/cpu/small_gemm-inl.h"

HWY_BEFORE_NAMESPACE();
namespace graft::engine::cpu::HWY_NAMESPACE {

// A block of scores is 24 KB. Keys come by the 128 that one group of dropout's blocks decides (kernels.h).
constexpr int64_t kQueries = 48, kKeys = 128;
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
  u.k0 = a.first_key(u.sequence);
  u.Lk = a.num_keys(u.sequence);
  u.d = a.head_dim;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(D()));
  u.dp = (u.d + lanes - 1) / lanes * lanes;
  return u;
}

// This head's columns of row `row` of t.
HWY_INLINE float* head_row(Tensor t, int64_t row, const Unit& u) { return t.row(row) + u.head * u.d; }

// Rows [row, row + n) of this head copied to a dense [n, d]: rows of a fused projection lie so far apart that
// they compete for a few sets of the cache.
HWY_INLINE Strided dense_rows(Tensor t, int64_t row, int64_t n, const Unit& u, float* out) {
  for (int64_t r = 0; r < n; ++r) std::copy_n(head_row(t, row + r, u), u.d, out + r * u.d);
  return {out, u.d, 1};
}

// Panels of the keys from j0 (a multiple of kKeys, which whole panels divide) on.
HWY_INLINE Panels from_key(Panels keys, int64_t j0) {
  return {keys.p + j0 / panel_width() * keys.step, keys.step};
}
HWY_INLINE Panels from_row(Panels rows, int64_t r) { return {rows.p + r * panel_width(), rows.step}; }

// Keys [low, high) that the query at `position` sees.
HWY_INLINE void visible(const AttentionArgs& a, const Unit& u, int64_t position, int64_t& low,
                        int64_t& high) {
  low = a.window >= 0 ? std::max<int64_t>(0, position - a.window) : 0;
  high = a.window >= 0 ? std::min<int64_t>(u.Lk, position + a.window + 1) : u.Lk;
  if (a.causal) high = std::min(high, position + 1);
}

// Factors of attention dropout for one query over keys [j0, j0 + n) of this head.
HWY_INLINE void key_factors(const AttentionArgs& a, const Unit& u, int64_t q_row, int64_t j0, int64_t n,
                            float* out) {
  dropout_factors(a.dropout, a.q_rows.example[u.sequence], a.q_rows.position[q_row],
                  static_cast<uint32_t>(u.head) + 1, n, out, j0 / kKeys);
}

// Turns a row of scores for keys [j0, j0 + n) into exp(score * scale - max), keeps max and sum up to date;
// returns the factor by which what was summed before shrinks. NaN and +inf among the scores make the sum NaN.
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
    const V e = hn::IfThenZeroElse(hn::Le(x, hn::Set(d, kMasked)), exp_of(hn::MulSub(x, factor, shift)));
    io.store(e, s + j);
    total = hn::Add(total, io.keep(e));
  });
  const float shrink = max == next ? 1.0f : max <= kMasked ? 0.0f : std::exp(max - next);
  sum = sum * shrink + sum_of(total);
  max = next;
  return shrink;
}

// 1 / sum. A query that sees no key has the result 0; one whose scores are all -inf has none, as in the
// reference.
HWY_INLINE float inverse_of(const AttentionArgs& a, const Unit& u, int64_t position, float sum) {
  if (sum != 0) return 1.0f / sum;
  int64_t low = 0, high = 0;
  visible(a, u, position, low, high);
  return low < high ? NAN : 0.0f;
}

// The result and the log of the denominator of `nq` queries from `row` on: acc [nq, dp] / sum.
HWY_INLINE void store_context(const AttentionArgs& a, const Unit& u, int64_t row, int64_t nq,
                              const float* acc, const float* max, const float* sum) {
  for (int64_t i = 0; i < nq; ++i) {
    const V inverse = hn::Set(D(), inverse_of(a, u, a.q_rows.position[row + i], sum[i]));
    float* out = head_row(a.out, row + i, u);
    for_vectors(u.d, [&](int64_t c, auto io)
                         HWY_ATTR { io.store(hn::Mul(io.load(acc + i * u.dp + c), inverse), out + c); });
    if (a.out_bf16) round_to_bf16(out, bf16_row(a.out_bf16, row + i) + u.head * u.d, u.d);
    if (a.lse) a.lse[(row + i) * a.num_heads + u.head] = max[i] + std::log(sum[i]);
  }
}

// dot[i] = the result of query row + i times its gradient [nq, d].
HWY_INLINE void row_products(const AttentionArgs& a, const Unit& u, int64_t row, int64_t nq,
                             const float* gradient, float* dot) {
  for (int64_t i = 0; i < nq; ++i) {
    V sum = hn::Zero(D());
    for_vectors(u.d, [&](int64_t c, auto io) HWY_ATTR {
      sum = hn::MulAdd(io.load(gradient + i * u.d + c), io.load(head_row(a.out, row + i, u) + c), sum);
    });
    dot[i] = sum_of(sum);
  }
}

// From scores and dP of one query's block: p becomes P * dropout (for dV), ds the gradient of the scores.
HWY_INLINE void score_gradient(float* p, float* ds, int64_t n, int64_t low, int64_t high, float scale,
                               float lse, float dot, const float* factors) {
  const D d;
  const V vs = hn::Set(d, scale), vl = hn::Set(d, lse), vd = hn::Set(d, dot);
  for_vectors(n, [&](int64_t j, auto io) HWY_ATTR {
    const V prob = exp_of(hn::MulSub(io.load(p + j), vs, vl));
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

}  // namespace graft::engine::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
