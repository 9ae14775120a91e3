// A register-blocked product for the small matrices inside attention; included once per Highway target.
#if defined(GRAFT_ENGINE_CPU_SMALL_GEMM_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GRAFT_ENGINE_CPU_SMALL_GEMM_INL_H_
#undef GRAFT_ENGINE_CPU_SMALL_GEMM_INL_H_
#else
#define GRAFT_ENGINE_CPU_SMALL_GEMM_INL_H_
#endif

#include "engine/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace graft::engine::cpu::HWY_NAMESPACE {

// A matrix read one number at a time, in any order of its two strides.
struct Strided {
  const float* p;
  int64_t row, col;
};

constexpr int kTileVectors =
    HWY_TARGET == HWY_AVX3 ? 4 : 2;  // with six rows: 24 of 32, or 12 of 16 registers
constexpr int kTileRows = 6;

template <int M, int N>
HWY_INLINE void small_tile(int64_t k, Strided a, const float* b, int64_t ldb, float* c, int64_t ldc,
                           bool add) {
  const D d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
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

template <int N>
HWY_INLINE void small_columns(int64_t m, int64_t k, Strided a, const float* b, int64_t ldb, float* c,
                              int64_t ldc, bool add) {
  for (; m >= kTileRows; m -= kTileRows, a.p += kTileRows * a.row, c += kTileRows * ldc) {
    small_tile<kTileRows, N>(k, a, b, ldb, c, ldc, add);
  }
  switch (m) {
    case 1:
      small_tile<1, N>(k, a, b, ldb, c, ldc, add);
      break;
    case 2:
      small_tile<2, N>(k, a, b, ldb, c, ldc, add);
      break;
    case 3:
      small_tile<3, N>(k, a, b, ldb, c, ldc, add);
      break;
    case 4:
      small_tile<4, N>(k, a, b, ldb, c, ldc, add);
      break;
    case 5:
      small_tile<5, N>(k, a, b, ldb, c, ldc, add);
      break;
    default:
      break;
  }
}

// c[m,n] (+)= a[m,k] b[k,n]. n counts whole vectors: b and c have columns enough for n rounded up to the
// lanes. Every element is summed over k in order, so its bits depend on nothing but its own row and column.
inline void small_gemm(int64_t m, int64_t n, int64_t k, Strided a, const float* b, int64_t ldb, float* c,
                       int64_t ldc, bool add) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(D()));
  int64_t j = 0;
  for (; j + kTileVectors * lanes <= n; j += kTileVectors * lanes) {
    small_columns<kTileVectors>(m, k, a, b + j, ldb, c + j, ldc, add);
  }
  for (; j < n; j += lanes) small_columns<1>(m, k, a, b + j, ldb, c + j, ldc, add);
}

}  // namespace graft::engine::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
