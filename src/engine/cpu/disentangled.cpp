// Attention with disentangled positions, forward and backward: one (sequence, head) at a time. The products
// of queries and of keys with the positions are matrix products over the positions that the unit can see; a
// score picks its two numbers from them by the distance of query and key.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/cpu/disentangled.cpp"
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

// The positions that a unit sees: rows [first, first + count), and the row (from `first` on) of key - query.
struct Seen {
  int64_t first = 0, count = 0, stride = 0;  // stride: count rounded up to whole vectors
  const int32_t* row = nullptr;  // row[key - query]; whole vectors behind the last one can be read

  HWY_INLINE const int32_t* of_query(int64_t position) const { return row - position; }  // [key]
};

HWY_INLINE Seen seen_by(const DisentangledArgs& args, const Unit& u) {
  const AttentionArgs& a = args.attention;
  const auto [low, high] = std::minmax_element(a.q_rows.position + u.q0, a.q_rows.position + u.q0 + u.Lq);
  const int64_t begin = -*high, end = u.Lk - *low, lanes = static_cast<int64_t>(hn::Lanes(D()));
  const int32_t* row = args.pos_row + args.pos_zero;
  Seen out;
  out.first = row[begin];
  out.count = row[end - 1] - out.first + 1;
  out.stride = (out.count + lanes - 1) / lanes * lanes;
  auto* local = reinterpret_cast<int32_t*>(float_scratch(6, end - begin + lanes));
  for (int64_t i = begin; i < end; ++i) local[i - begin] = row[i] - static_cast<int32_t>(out.first);
  std::fill_n(local + (end - begin), lanes, 0);
  out.row = local - begin;
  return out;
}

// s[j] += of_query[row[j]] + of_keys[j * stride + row[j]]; either may be null. Reads and writes whole
// vectors.
HWY_INLINE void add_positions(float* s, int64_t n, const int32_t* row, const float* of_query,
                              const float* of_keys, int64_t stride) {
  const D d;
  const hn::RebindToSigned<D> di;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto lane_rows = hn::Mul(hn::Iota(di, 0), hn::Set(di, static_cast<int32_t>(stride)));
  for (int64_t j = 0; j < n; j += lanes) {
    const auto at = hn::LoadU(di, row + j);
    V sum = hn::LoadU(d, s + j);
    if (of_query) sum = hn::Add(sum, hn::GatherIndex(d, of_query, at));
    if (of_keys) sum = hn::Add(sum, hn::GatherIndex(d, of_keys + j * stride, hn::Add(at, lane_rows)));
    hn::StoreU(sum, d, s + j);
  }
}

// The transpose of add_positions for the gradient ds.
HWY_INLINE void spread_gradient(const float* ds, int64_t n, const int32_t* row, float* of_query,
                                float* of_keys, int64_t stride) {
  if (of_query) {
    float sum = 0;  // of neighbours with one position
    int32_t last = row[0];
    for (int64_t j = 0; j < n; ++j) {
      if (row[j] != last) {
        of_query[last] += sum;
        sum = 0;
        last = row[j];
      }
      sum += ds[j];
    }
    of_query[last] += sum;
  }
  if (!of_keys) return;
  for (int64_t j = 0; j < n; ++j) of_keys[j * stride + row[j]] += ds[j];
}

// What both passes compute first: products of keys and positions.
struct Products {
  Strided k;       // [Lk, d], dense
  Panels pos_key;  // [d, positions]
  float* of_keys;  // [Lk, stride]: k pos_query^T; null without
};

HWY_INLINE int64_t products_size(const Unit& u, const Seen& seen) {
  return u.Lk * u.d + 2 * panels_size(u.d, seen.stride);
}

// `memory`: products_size() floats. `of_keys` has a vector of rows behind the last key.
HWY_INLINE Products products_of(const DisentangledArgs& args, const Unit& u, const Seen& seen, float* memory,
                                float* of_keys) {
  const AttentionArgs& a = args.attention;
  Products out{dense_rows(a.k, u.k0, u.Lk, u, memory), {}, nullptr};
  memory += u.Lk * u.d;
  if (args.pos_key)
    out.pos_key =
        pack_transposed(head_row(args.pos_key, seen.first, u), args.pos_key.stride, seen.count, u.d, memory);
  if (!args.pos_query) return out;
  const Panels pos_query = pack_transposed(head_row(args.pos_query, seen.first, u), args.pos_query.stride,
                                           seen.count, u.d, memory + panels_size(u.d, seen.stride));
  small_gemm(u.Lk, seen.stride, u.d, out.k, pos_query, of_keys, seen.stride, false);
  out.of_keys = of_keys;
  return out;
}

HWY_INLINE int64_t of_keys_size(const Unit& u, const Seen& seen) {
  return (u.Lk + static_cast<int64_t>(hn::Lanes(D()))) * seen.stride;
}

void disentangled_unit(const DisentangledArgs& args, int64_t task) {
  const D d;
  const AttentionArgs& a = args.attention;
  const Unit u = unit_of(a, task);
  if (u.Lq == 0) return;
  const Seen seen = seen_by(args, u);
  const Panels kt = pack_transposed(head_row(a.k, u.k0, u), a.k.stride, u.Lk, u.d,
                                    float_scratch(0, panels_size(u.d, u.Lk))),
               v = pack_rows(head_row(a.v, u.k0, u), a.v.stride, u.Lk, u.d,
                             float_scratch(1, panels_size(u.Lk, u.d)));
  const Products products = products_of(args, u, seen, float_scratch(4, products_size(u, seen)),
                                        float_scratch(5, of_keys_size(u, seen)));
  float *s = float_scratch(2, kQueries * (kKeys + seen.stride)), *of_query = s + kQueries * kKeys;
  float *acc = float_scratch(3, kQueries * (u.dp + u.d)), *query = acc + kQueries * u.dp;
  const bool drop = a.dropout.threshold() > 0;
  HWY_ALIGN float factors[kKeys];
  float max[kQueries], sum[kQueries];
  for (int64_t i0 = 0; i0 < u.Lq; i0 += kQueries) {
    const int64_t nq = std::min(kQueries, u.Lq - i0), row = u.q0 + i0;
    const Strided q = dense_rows(a.q, row, nq, u, query);
    if (args.pos_key) small_gemm(nq, seen.stride, u.d, q, products.pos_key, of_query, seen.stride, false);
    std::fill(max, max + nq, kMasked);
    std::fill(sum, sum + nq, 0.0f);
    for (int64_t j0 = 0; j0 < u.Lk; j0 += kKeys) {
      const int64_t nk = std::min(kKeys, u.Lk - j0);
      small_gemm(nq, nk, u.d, q, from_key(kt, j0), s, kKeys, false);
      for (int64_t i = 0; i < nq; ++i) {
        float* p = s + i * kKeys;
        add_positions(p, nk, seen.of_query(a.q_rows.position[row + i]) + j0,
                      args.pos_key ? of_query + i * seen.stride : nullptr,
                      products.of_keys ? products.of_keys + j0 * seen.stride : nullptr, seen.stride);
        const float shrink = softmax_block(p, nk, 0, nk, a.scale, max[i], sum[i]);
        if (j0 > 0 && shrink != 1.0f) {
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
      small_gemm(nq, u.dp, nk, {s, kKeys, 1}, from_row(v, j0), acc, u.dp, j0 > 0);
    }
    store_context(a, u, row, nq, acc, max, sum);
  }
}

// Sums over the sequences of one group of a head: gradients of the positions, [positions, terms_stride()]
// each.
struct PositionSums {
  float *key, *query;
};

void disentangled_backward_unit(const DisentangledBackwardArgs& b, int64_t sequence, int64_t head,
                                PositionSums sums) {
  const DisentangledArgs& args = b.forward;
  const AttentionArgs& a = args.attention;
  const Unit u = unit_of(a, sequence * a.num_heads + head);
  float *dk = float_scratch(1, 2 * u.Lk * u.dp), *dv = dk + u.Lk * u.dp;
  std::fill_n(dk, 2 * u.Lk * u.dp, 0.0f);
  if (u.Lq > 0) {
    const Seen seen = seen_by(args, u);
    const int64_t across = panels_size(u.d, u.Lk), along = panels_size(u.Lk, u.d);
    float* packed = float_scratch(0, 2 * across + along + 2 * panels_size(seen.count, u.d));
    const Panels kt = pack_transposed(head_row(a.k, u.k0, u), a.k.stride, u.Lk, u.d, packed),
                 vt = pack_transposed(head_row(a.v, u.k0, u), a.v.stride, u.Lk, u.d, packed + across),
                 k = pack_rows(head_row(a.k, u.k0, u), a.k.stride, u.Lk, u.d, packed + 2 * across);
    packed += 2 * across + along;
    const Panels pos_key = !args.pos_key ? Panels{}
                                         : pack_rows(head_row(args.pos_key, seen.first, u),
                                                     args.pos_key.stride, seen.count, u.d, packed),
                 pos_query = !args.pos_query
                                 ? Panels{}
                                 : pack_rows(head_row(args.pos_query, seen.first, u), args.pos_query.stride,
                                             seen.count, u.d, packed + panels_size(seen.count, u.d));
    const int64_t keys_size = of_keys_size(u, seen), stride = b.terms_stride();
    float *of_keys = float_scratch(5, 2 * keys_size), *d_of_keys = of_keys + keys_size;
    const Products products = products_of(args, u, seen, float_scratch(4, products_size(u, seen)), of_keys);
    if (products.of_keys) std::fill_n(d_of_keys, keys_size, 0.0f);
    float *s = float_scratch(2, 2 * kQueries * (kKeys + seen.stride)), *ds = s + kQueries * kKeys,
          *of_query = ds + kQueries * kKeys, *d_of_query = of_query + kQueries * seen.stride;
    const int64_t block = panels_size(kQueries, u.d);
    float *dq = float_scratch(3, 2 * block + kQueries * (u.dp + 2 * u.d)), *q_panels = dq + kQueries * u.dp,
          *dout_panels = q_panels + block, *query = dout_panels + block, *gradient = query + kQueries * u.d;
    HWY_ALIGN float factors[kKeys];
    const bool drop = a.dropout.threshold() > 0;
    for (int64_t i0 = 0; i0 < u.Lq; i0 += kQueries) {
      const int64_t nq = std::min(kQueries, u.Lq - i0), row = u.q0 + i0;
      const Strided q_rows = dense_rows(a.q, row, nq, u, query),
                    dout_rows = dense_rows(b.dout, row, nq, u, gradient);
      const Panels q = pack_rows(query, u.d, nq, u.d, q_panels),
                   dout = pack_rows(gradient, u.d, nq, u.d, dout_panels);
      if (args.pos_key) {
        small_gemm(nq, seen.stride, u.d, q_rows, products.pos_key, of_query, seen.stride, false);
        std::fill_n(d_of_query, nq * seen.stride, 0.0f);
      }
      float dot[kQueries];
      row_products(a, u, row, nq, gradient, dot);
      for (int64_t j0 = 0; j0 < u.Lk; j0 += kKeys) {
        const int64_t nk = std::min(kKeys, u.Lk - j0);
        small_gemm(nq, nk, u.d, q_rows, from_key(kt, j0), s, kKeys, false);
        small_gemm(nq, nk, u.d, dout_rows, from_key(vt, j0), ds, kKeys, false);
        for (int64_t i = 0; i < nq; ++i) {
          const int32_t* positions = seen.of_query(a.q_rows.position[row + i]) + j0;
          float *p = s + i * kKeys, *dp = ds + i * kKeys;
          add_positions(p, nk, positions, args.pos_key ? of_query + i * seen.stride : nullptr,
                        products.of_keys ? products.of_keys + j0 * seen.stride : nullptr, seen.stride);
          if (drop) key_factors(a, u, row + i, j0, nk, factors);
          score_gradient(p, dp, nk, 0, nk, a.scale, a.lse[(row + i) * a.num_heads + u.head], dot[i],
                         drop ? factors : nullptr);
          spread_gradient(dp, nk, positions, args.pos_key ? d_of_query + i * seen.stride : nullptr,
                          products.of_keys ? d_of_keys + j0 * seen.stride : nullptr, seen.stride);
        }
        small_gemm(nk, u.dp, nq, {s, 1, kKeys}, dout, dv + j0 * u.dp, u.dp, true);
        small_gemm(nk, u.dp, nq, {ds, 1, kKeys}, q, dk + j0 * u.dp, u.dp, true);
        small_gemm(nq, u.dp, nk, {ds, kKeys, 1}, from_row(k, j0), dq, u.dp, j0 > 0);
      }
      if (args.pos_key) {
        small_gemm(nq, u.dp, seen.count, {d_of_query, seen.stride, 1}, pos_key, dq, u.dp, true);
        small_gemm(seen.count, u.dp, nq, {d_of_query, 1, seen.stride}, q, sums.key + seen.first * stride,
                   stride, true);
      }
      for (int64_t i = 0; b.dq && i < nq; ++i) std::copy_n(dq + i * u.dp, u.d, head_row(b.dq, row + i, u));
    }
    if (products.of_keys) {
      small_gemm(u.Lk, u.dp, seen.count, {d_of_keys, seen.stride, 1}, pos_query, dk, u.dp, true);
      small_gemm(seen.count, u.dp, u.Lk, {d_of_keys, 1, seen.stride}, k, sums.query + seen.first * stride,
                 stride, true);
    }
  }
  for (int64_t j = 0; j < u.Lk; ++j) {
    if (b.dk) std::copy_n(dk + j * u.dp, u.d, head_row(b.dk, u.k0 + j, u));
    if (b.dv) std::copy_n(dv + j * u.dp, u.d, head_row(b.dv, u.k0 + j, u));
  }
}

// One group of sequences of a head.
void disentangled_backward_task(const DisentangledBackwardArgs& b, int64_t task) {
  const AttentionArgs& a = b.forward.attention;
  const int64_t group = task / a.num_heads, head = task % a.num_heads, S = a.q_rows.num_sequences,
                size = b.forward.num_positions() * b.terms_stride();
  float* sums = b.terms + task * 2 * size;
  std::fill_n(sums, 2 * size, 0.0f);
  for (int64_t s = S * group / b.num_groups(); s < S * (group + 1) / b.num_groups(); ++s)
    disentangled_backward_unit(b, s, head, {sums, sums + size});
}

}  // namespace graft::engine::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace graft::engine::cpu {

HWY_EXPORT(disentangled_unit);
HWY_EXPORT(disentangled_backward_task);

void disentangled(const DisentangledArgs& args) {
  const AttentionArgs& a = args.attention;
  parallel_for(a.q_rows.num_sequences * a.num_heads, [&](int64_t task) {
    HWY_DYNAMIC_DISPATCH(disentangled_unit)(args, task);
  });
  clear_padding(a.out_bf16);
}

void disentangled_backward(const DisentangledBackwardArgs& args) {
  const AttentionArgs& a = args.forward.attention;
  const int64_t n = args.forward.num_positions(), stride = args.terms_stride(), groups = args.num_groups();
  parallel_for(groups * a.num_heads, [&](int64_t task) {
    HWY_DYNAMIC_DISPATCH(disentangled_backward_task)(args, task);
  });
  parallel_for(n, [&](int64_t r) {
    for (const bool key : {true, false}) {
      const Tensor out = key ? args.dpos_key : args.dpos_query;
      if (!out) continue;
      for (int64_t c = 0; c < a.num_heads * a.head_dim; ++c) {
        const int64_t head = c / a.head_dim;
        float sum = 0;
        for (int64_t group = 0; group < groups; ++group)
          sum += args.terms[(((group * a.num_heads + head) * 2 + (key ? 0 : 1)) * n + r) * stride +
                            c % a.head_dim];
        out.row(r)[c] = sum;
      }
    }
  });
}

}  // namespace graft::engine::cpu
#endif
