// Normalisation (NormKind) fused with what a transformer puts before it: dropout and the residual sum, or the
// sum of embedding rows. Statistics in fp32, two passes over a row that stays in cache.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/cpu/norm.cpp"
#include <hwy/foreach_target.h>
// foreach_target comes first
#include <hwy/highway.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "base/philox.h"
#include "base/threads.h"
#include "engine/cpu/cpu_kernels.h"
#include "engine/cpu/scratch.h"
#include "engine/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace graft::engine::cpu::HWY_NAMESPACE {

// y = (z - mean) * rstd * gamma + beta for one row of H; rms_norm has the mean 0.
void normalize_row(const float* z, const float* gamma, const float* beta, NormKind kind, float eps, int64_t H,
                   float* y, float* mean, float* rstd) {
  const D d;
  const float m = kind == NormKind::rms_norm ? 0.0f : mean_of_row(z, H);
  const V vm = hn::Set(d, m);
  V square = hn::Zero(d);
  for_vectors(H, [&](int64_t i, auto io) HWY_ATTR {
    const V c = io.keep(hn::Sub(io.load(z + i), vm));
    square = hn::MulAdd(c, c, square);
  });
  const float r = 1.0f / std::sqrt(sum_of(square) / static_cast<float>(H) + eps);
  const V vr = hn::Set(d, r);
  for_vectors(H, [&](int64_t i, auto io) HWY_ATTR {
    const V x = hn::Mul(hn::Sub(io.load(z + i), vm), vr);
    io.store(hn::MulAdd(x, io.load(gamma + i), beta ? io.load(beta + i) : hn::Zero(d)), y + i);
  });
  *mean = m;
  *rstd = r;
}

void scale_row(float* x, const float* factors, int64_t n) {
  for_vectors(n, [&](int64_t i, auto io)
                     HWY_ATTR { io.store(hn::Mul(io.load(x + i), io.load(factors + i)), x + i); });
}

void residual_norm_rows(const ResidualNormArgs& a, int64_t begin, int64_t end) {
  const int64_t H = a.x.cols;
  const bool drop = a.dropout.threshold() > 0;
  float* factors = float_scratch(0, H + 128);
  for (int64_t r = begin; r < end; ++r) {
    if (drop) {
      dropout_factors(a.dropout, a.rows.example[a.rows.sequence[r]], a.rows.position[r], 0, H, factors);
    }
    const float *x = a.x.row(r), *residual = a.residual ? a.residual.row(r) : nullptr;
    float* z = a.z.row(r);
    for_vectors(H, [&](int64_t i, auto io) HWY_ATTR {
      V v = io.load(x + i);
      if (drop) v = hn::Mul(v, io.load(factors + i));
      if (residual) v = hn::Add(v, io.load(residual + i));
      io.store(v, z + i);
    });
    if (!a.y) continue;
    normalize_row(z, a.gamma, a.beta, a.kind, a.eps, H, a.y.row(r), a.mean + r, a.rstd + r);
    if (a.y_bf16) round_to_bf16(a.y.row(r), bf16_row(a.y_bf16, r), H);
  }
}

// The gradient through the norm of one row into dz; adds its share to dgamma and dbeta.
HWY_INLINE void norm_backward_row(const ResidualNormBackwardArgs& a, int64_t r, float* dz, float* dgamma,
                                  float* dbeta) {
  const D d;
  const int64_t H = a.dy.cols;
  const float *dy = a.dy.row(r), *z = a.z.row(r);
  const V mean = hn::Set(d, a.mean[r]), rstd = hn::Set(d, a.rstd[r]);
  V sum = hn::Zero(d), dot = hn::Zero(d);
  for_vectors(H, [&](int64_t i, auto io) HWY_ATTR {
    const V xhat = hn::Mul(hn::Sub(io.load(z + i), mean), rstd), g = io.load(dy + i);
    const V scaled = hn::Mul(g, io.load(a.gamma + i));
    sum = hn::Add(sum, io.keep(scaled));
    dot = hn::Add(dot, io.keep(hn::Mul(scaled, xhat)));
    io.store(hn::MulAdd(g, xhat, io.load(dgamma + i)), dgamma + i);
    io.store(hn::Add(g, io.load(dbeta + i)), dbeta + i);
  });
  // The mean of an rms_norm is not a function of the row.
  const float through_mean = a.kind == NormKind::rms_norm ? 0.0f : sum_of(sum) / static_cast<float>(H);
  const V m1 = hn::Set(d, through_mean), m2 = hn::Set(d, sum_of(dot) / static_cast<float>(H));
  for_vectors(H, [&](int64_t i, auto io) HWY_ATTR {
    const V xhat = hn::Mul(hn::Sub(io.load(z + i), mean), rstd);
    const V scaled = hn::Mul(io.load(dy + i), io.load(a.gamma + i));
    io.store(hn::Mul(hn::Sub(hn::Sub(scaled, m1), hn::Mul(xhat, m2)), rstd), dz + i);
  });
}

// to (+)= from
HWY_INLINE void put_row(const float* from, bool add, float* to, int64_t n) {
  for_vectors(n, [&](int64_t i, auto io) HWY_ATTR {
    const V v = io.load(from + i);
    io.store(add ? hn::Add(v, io.load(to + i)) : v, to + i);
  });
}

// Rows [begin, end) of the gradient; sums[2H] gets their share of dgamma and dbeta.
void residual_norm_backward_rows(const ResidualNormBackwardArgs& a, int64_t begin, int64_t end, float* sums) {
  const int64_t H = a.z.cols;
  const bool drop = a.dropout.threshold() > 0;
  float *factors = float_scratch(0, H + 128), *dz = float_scratch(1, H + 128);
  if (a.dy) std::fill(sums, sums + 2 * H, 0.0f);
  for (int64_t r = begin; r < end; ++r) {
    if (a.dy) norm_backward_row(a, r, dz, sums, sums + H);
    if (a.dz) put_row(a.dz.row(r), static_cast<bool>(a.dy), dz, H);
    if (a.dresidual) put_row(dz, a.add_dresidual, a.dresidual.row(r), H);
    if (!a.dx) continue;
    if (drop) {
      dropout_factors(a.dropout, a.rows.example[a.rows.sequence[r]], a.rows.position[r], 0, H, factors);
      scale_row(dz, factors, H);
    }
    put_row(dz, a.add_dx, a.dx.row(r), H);
  }
}

// Counter: the example's key, the position, the number of four channels.
void add_noise(const EmbeddingArgs& a, int64_t r, float* z) {
  const int64_t H = a.y.cols, s = a.rows.sequence[r], example = a.rows.example[s];
  const auto length = static_cast<float>(a.rows.cu_seqlens[s + 1] - a.rows.cu_seqlens[s]);
  const float magnitude = a.noise_alpha / std::sqrt(length * static_cast<float>(H));
  for (int64_t c = 0; c < H; c += 4) {
    const std::array<uint32_t, 4> words =
        philox4x32(a.noise_key, {static_cast<uint32_t>(example), static_cast<uint32_t>(example >> 32),
                                 static_cast<uint32_t>(a.rows.position[r]), static_cast<uint32_t>(c / 4)});
    for (int64_t i = c; i < std::min(H, c + 4); ++i)
      z[i] += magnitude *
              (static_cast<float>(static_cast<int32_t>(words[static_cast<size_t>(i - c)])) * 0x1p-31f);
  }
}

void embedding_rows(const EmbeddingArgs& a, int64_t begin, int64_t end) {
  const int64_t H = a.y.cols;
  float* factors = float_scratch(0, H + 128);
  for (int64_t r = begin; r < end; ++r) {
    float* z = a.z.row(r);
    bool first = true;
    for (int t = 0; t < 4; ++t) {
      if (!a.ids[t] || a.ids[t][r] < 0) continue;
      const float* from = a.tables[t] + a.ids[t][r] * H;
      for_vectors(H, [&](int64_t i, auto io) HWY_ATTR {
        io.store(first ? io.load(from + i) : hn::Add(io.load(z + i), io.load(from + i)), z + i);
      });
      if (t == 0 && a.noise_alpha > 0) add_noise(a, r, z);
      first = false;
    }
    if (a.gamma)
      normalize_row(z, a.gamma, a.beta, a.kind, a.eps, H, a.y.row(r), a.mean + r, a.rstd + r);
    else if (z != a.y.row(r))
      std::copy_n(z, H, a.y.row(r));
    if (a.dropout.threshold() > 0) {
      dropout_factors(a.dropout, a.rows.example[a.rows.sequence[r]], a.rows.position[r], 0, H, factors);
      scale_row(a.y.row(r), factors, H);
    }
    if (a.y_bf16) round_to_bf16(a.y.row(r), bf16_row(a.y_bf16, r), H);
  }
}

void dropout_rows(Tensor x, Tensor y, const Dropout& dropout, const Rows& rows, bool add, int64_t begin,
                  int64_t end) {
  float* factors = float_scratch(0, x.cols + 128);
  for (int64_t r = begin; r < end; ++r) {
    dropout_factors(dropout, rows.example[rows.sequence[r]], rows.position[r], 0, x.cols, factors);
    for_vectors(x.cols, [&](int64_t i, auto io) HWY_ATTR {
      const V v = hn::Mul(io.load(x.row(r) + i), io.load(factors + i));
      io.store(add ? hn::Add(v, io.load(y.row(r) + i)) : v, y.row(r) + i);
    });
  }
}

}  // namespace graft::engine::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace graft::engine {
namespace {
constexpr int64_t kNormBlock = 32;  // rows per partial sum of dgamma, dbeta: fixed for the sake of the bits
}

int64_t norm_scratch_size(int64_t T, int64_t H) { return (T + kNormBlock - 1) / kNormBlock * 2 * H; }

namespace cpu {

HWY_EXPORT(residual_norm_rows);
HWY_EXPORT(residual_norm_backward_rows);
HWY_EXPORT(embedding_rows);
HWY_EXPORT(dropout_rows);

void residual_norm(const ResidualNormArgs& args) {
  parallel_blocks(args.x.rows, 16, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(residual_norm_rows)(args, begin, end);
  });
  clear_padding(args.y_bf16);
}

void residual_norm_backward(const ResidualNormBackwardArgs& args) {
  const int64_t T = args.z.rows, H = args.z.cols;
  parallel_blocks(T, kNormBlock, [&](int64_t begin, int64_t end) {
    float* sums = args.dy ? args.scratch + begin / kNormBlock * 2 * H : nullptr;
    HWY_DYNAMIC_DISPATCH(residual_norm_backward_rows)(args, begin, end, sums);
  });
  const auto join = [&](float* out, bool add, int64_t part) {
    if (!out || !args.dy) return;
    if (!add) std::fill(out, out + H, 0.0f);
    for (int64_t b = 0; b * kNormBlock < T; ++b) {
      const float* sums = args.scratch + (2 * b + part) * H;
      for (int64_t i = 0; i < H; ++i) out[i] += sums[i];
    }
  };
  join(args.dgamma, args.add_dgamma, 0);
  join(args.dbeta, args.add_dbeta, 1);
}

void embedding(const EmbeddingArgs& args) {
  parallel_blocks(args.y.rows, 16, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(embedding_rows)(args, begin, end);
  });
  clear_padding(args.y_bf16);
}

void dropout(Tensor x, Tensor y, const Dropout& dropout, const Rows& rows, bool add) {
  parallel_blocks(x.rows, 16, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(dropout_rows)(x, y, dropout, rows, add, begin, end);
  });
}

}  // namespace cpu
}  // namespace graft::engine
#endif
