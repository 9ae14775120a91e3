// A register-blocked product for the small matrices inside attention; included once per Highway target.
#if defined(GRAFT_ENGINE_CPU_SMALL_GEMM_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GRAFT_ENGINE_CPU_SMALL_GEMM_INL_H_
#undef GRAFT_ENGINE_CPU_SMALL_GEMM_INL_H_
#else
#define GRAFT_ENGINE_CPU_SMALL_GEMM_INL_H_
#endif

#include <algorithm>

#include "engine/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace graft::engine::cpu::HWY_NAMESPACE {

// A matrix read one number at a time, in any order of its two strides.
struct Strided {
  const float* p;
  int64_t row, col;
};

// A right factor [k, n] in panels of panel_width() columns: panel j is a dense [k, panel_width()], `step`
// floats after its predecessor. Dense panels keep a power-of-two stride from filling a few sets of the cache.
struct Panels {
  const float* p;
  int64_t step;
};

constexpr int kTileVectors =
    HWY_TARGET == HWY_AVX3 ? 4 : 2;  // with six rows: 24 of 32, or 12 of 16 registers
HWY_INLINE int64_t panel_width() { return kTileVectors * static_cast<int64_t>(hn::Lanes(D())); }
HWY_INLINE int64_t num_panels(int64_t n) { return (n + panel_width() - 1) / panel_width(); }
// Floats of a packed [k, n].
HWY_INLINE int64_t panels_size(int64_t k, int64_t n) { return num_panels(n) * panel_width() * k; }

template <int M, int N>
HWY_INLINE void small_tile(int64_t k, Strided a, const float* b, float* c, int64_t ldc, bool add) {
  const D d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d)), ldb = panel_width();
  V sum[M][N];
  for (int i = 0; i < M; ++i) {
    for (int j = 0; j < N; ++j) sum[i][j] = add ? hn::LoadU(d, c + i * ldc + j * lanes) : hn::Zero(d);
  }
  for (int64_t x = 0; x < k; ++x) {
    V row[N];
    for (int j = 0; j < N; ++j) row[j] = hn::LoadU(d, b + x * ldb + j * lanes);
    for (int i = 0; i < M; ++i) {
      const V factor = hn::Set(d, a.p[i * a.row + x * a.col]);
      for (int j = 0; j < N; ++j) sum[i][j] = hn::MulAdd(factor, row[j], sum[i][j]);
    }
  }
  for (int i = 0; i < M; ++i) {
    for (int j = 0; j < N; ++j) hn::StoreU(sum[i][j], d, c + i * ldc + j * lanes);
  }
}

// small_tile of `rows` rows, at most M.
template <int M, int N>
HWY_INLINE void small_rows(int64_t rows, int64_t k, Strided a, const float* b, float* c, int64_t ldc,
                           bool add) {
  if (rows == M) return small_tile<M, N>(k, a, b, c, ldc, add);
  if constexpr (M > 1) small_rows<M - 1, N>(rows, k, a, b, c, ldc, add);
}

// N vectors of columns; rows in parts of nearly one size, since a part of one or two rows would wait for its
// own sums.
template <int N>
HWY_NOINLINE void small_columns(int64_t m, int64_t k, Strided a, const float* b, float* c, int64_t ldc,
                                bool add) {
  constexpr int kRows = N == 1 ? 12 : 6;
  for (int64_t parts = (m + kRows - 1) / kRows; parts > 0; --parts) {
    const int64_t rows = (m + parts - 1) / parts;
    small_rows<kRows, N>(rows, k, a, b, c, ldc, add);
    m -= rows;
    a.p += rows * a.row;
    c += rows * ldc;
  }
}

// c[m,n] (+)= a[m,k] b[k,n]. n counts whole vectors: b and c have columns enough for n rounded up to the
// lanes. Every element is summed over k in order, so its bits depend on nothing but its own row and column.
inline void small_gemm(int64_t m, int64_t n, int64_t k, Strided a, Panels b, float* c, int64_t ldc,
                       bool add) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(D())), width = panel_width();
  int64_t j = 0;
  for (; j + width <= n; j += width, b.p += b.step)
    small_columns<kTileVectors>(m, k, a, b.p, c + j, ldc, add);
  for (; j < n; j += lanes) {
    if (kTileVectors > 2 && j + lanes < n) {
      small_columns<2>(m, k, a, b.p, c + j, ldc, add);
      b.p += lanes, j += lanes;
    } else {
      small_columns<1>(m, k, a, b.p, c + j, ldc, add);
    }
    b.p += lanes;
  }
}

// Rows [0, n) of `from` (d numbers each, `stride` apart) as a right factor [n, d].
HWY_INLINE Panels pack_rows(const float* from, int64_t stride, int64_t n, int64_t d, float* out) {
  const int64_t width = panel_width(), step = n * width;
  for (int64_t r = 0; r < n; ++r) {
    for (int64_t c = 0; c < d; c += width) {
      float* to = out + c / width * step + r * width;
      const float* row = from + r * stride + c;
      const int64_t cols = std::min(width, d - c);
      for_vectors(cols, [&](int64_t i, auto io) HWY_ATTR { hn::StoreU(io.load(row + i), D(), to + i); });
    }
  }
  return {out, step};
}

// The same rows transposed: a right factor [d, n]. Columns up to the next whole vector are zero.
HWY_INLINE Panels pack_transposed(const float* from, int64_t stride, int64_t n, int64_t d, float* out) {
  const hn::FixedTag<float, 4> d4;
  const hn::Repartition<double, decltype(d4)> d2;
  const int64_t width = panel_width(), step = d * width, lanes = static_cast<int64_t>(hn::Lanes(D()));
  const int64_t whole = n / 4 * 4, blocks = d / 4 * 4;
  for (int64_t r = 0; r < whole; r += 4) {
    float* to = out + r / width * step + r % width;
    const float* row = from + r * stride;
    for (int64_t c = 0; c < blocks; c += 4) {
      const auto r0 = hn::LoadU(d4, row + c), r1 = hn::LoadU(d4, row + stride + c),
                 r2 = hn::LoadU(d4, row + 2 * stride + c), r3 = hn::LoadU(d4, row + 3 * stride + c);
      const auto low01 = hn::BitCast(d2, hn::InterleaveLower(d4, r0, r1)),
                 low23 = hn::BitCast(d2, hn::InterleaveLower(d4, r2, r3)),
                 high01 = hn::BitCast(d2, hn::InterleaveUpper(d4, r0, r1)),
                 high23 = hn::BitCast(d2, hn::InterleaveUpper(d4, r2, r3));
      hn::StoreU(hn::BitCast(d4, hn::InterleaveLower(d2, low01, low23)), d4, to + c * width);
      hn::StoreU(hn::BitCast(d4, hn::InterleaveUpper(d2, low01, low23)), d4, to + (c + 1) * width);
      hn::StoreU(hn::BitCast(d4, hn::InterleaveLower(d2, high01, high23)), d4, to + (c + 2) * width);
      hn::StoreU(hn::BitCast(d4, hn::InterleaveUpper(d2, high01, high23)), d4, to + (c + 3) * width);
    }
    for (int64_t c = blocks; c < d; ++c) {
      for (int64_t i = 0; i < 4; ++i) to[c * width + i] = row[i * stride + c];
    }
  }
  for (int64_t r = whole; r < (n + lanes - 1) / lanes * lanes; ++r) {
    float* to = out + r / width * step + r % width;
    for (int64_t c = 0; c < d; ++c) to[c * width] = r < n ? from[r * stride + c] : 0.0f;
  }
  return {out, step};
}

}  // namespace graft::engine::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
