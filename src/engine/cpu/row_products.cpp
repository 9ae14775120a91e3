#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/cpu/row_products.cpp"
#include <hwy/foreach_target.h>
// foreach_target comes first
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <algorithm>
#include <vector>

#include "base/threads.h"
#include "engine/cpu/cpu_kernels.h"
#include "engine/cpu/row_products.h"
#include "engine/cpu/scratch.h"
#include "engine/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace graft::engine::cpu::HWY_NAMESPACE {

// Rows of x, and rows of w or vectors of columns of y, whose sums are in registers at once.
constexpr int kRowsAtOnce = 4;
constexpr int kColumnsAtOnce = HWY_TARGET == HWY_AVX3 ? 4 : 2;

using Half = hn::Rebind<uint16_t, D>;
using Bits = hn::Repartition<uint32_t, D>;

// A vector of weights as fp32.
HWY_INLINE V weights_at(const float* w) { return hn::LoadU(D(), w); }
HWY_INLINE V weights_at(const uint16_t* w) {
  return hn::BitCast(D(), hn::ShiftLeft<16>(hn::PromoteTo(Bits(), hn::LoadU(Half(), w))));
}
// The last n of a row, zeros behind them.
HWY_INLINE V last_of(const float* w, int64_t n) {
  HWY_ALIGN float lanes[hn::MaxLanes(D())] = {};
  std::copy_n(w, n, lanes);
  return hn::Load(D(), lanes);
}
HWY_INLINE V last_of(const uint16_t* w, int64_t n) {
  HWY_ALIGN uint16_t lanes[hn::MaxLanes(Half())] = {};
  std::copy_n(w, n, lanes);
  return weights_at(lanes);
}

// A row-major factor.
template <class T>
struct RowMajor {
  const T* p;
  int64_t stride;
  HWY_INLINE RowMajor from(int64_t row) const { return {p + row * stride, stride}; }
};

// y[i][j] = x[i] . w[j] of K numbers, for M rows of x and N rows of w: a sum for each lane, then over the
// lanes.
template <int M, int N, class W>
HWY_INLINE void dot_tile(int64_t K, RowMajor<float> x, RowMajor<W> w, float* y, int64_t ldy) {
  const D d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d)), whole = K / lanes * lanes;
  V sum[M][N], a[M];
  for (int i = 0; i < M; ++i)
    for (int j = 0; j < N; ++j) sum[i][j] = hn::Zero(d);
  for (int64_t k = 0; k < whole; k += lanes) {
    for (int i = 0; i < M; ++i) a[i] = hn::LoadU(d, x.p + i * x.stride + k);
    for (int j = 0; j < N; ++j) {
      // The next N rows: what the processor reads ahead by itself ends soon.
      hwy::Prefetch(w.p + (j + N) * w.stride + k);
      const V b = weights_at(w.p + j * w.stride + k);
      for (int i = 0; i < M; ++i) sum[i][j] = hn::MulAdd(a[i], b, sum[i][j]);
    }
  }
  if (whole < K) {
    for (int i = 0; i < M; ++i) a[i] = last_of(x.p + i * x.stride + whole, K - whole);
    for (int j = 0; j < N; ++j) {
      const V b = last_of(w.p + j * w.stride + whole, K - whole);
      for (int i = 0; i < M; ++i) sum[i][j] = hn::MulAdd(a[i], b, sum[i][j]);
    }
  }
  for (int i = 0; i < M; ++i)
    for (int j = 0; j < N; ++j) y[i * ldy + j] = sum_of(sum[i][j]);
}

// dot_tile for `rows` rows of x, at most M.
template <int M, int N, class W>
HWY_INLINE void dot_rows(int64_t rows, int64_t K, RowMajor<float> x, RowMajor<W> w, float* y, int64_t ldy) {
  if (rows == M) return dot_tile<M, N>(K, x, w, y, ldy);
  if constexpr (M > 1) dot_rows<M - 1, N>(rows, K, x, w, y, ldy);
}

// N rows of w and all rows of x.
template <int N, class W>
HWY_INLINE void dot_columns(int64_t K, RowMajor<float> x, RowMajor<W> w, Tensor y) {
  for (int64_t i = 0; i < y.rows; i += kRowsAtOnce)
    dot_rows<kRowsAtOnce, N>(std::min<int64_t>(y.rows - i, kRowsAtOnce), K, x.from(i), w, y.row(i), y.stride);
}

// y = x w^T; a few rows of w meet all rows of x while they are in cache.
template <class W>
HWY_INLINE void dot_block(int64_t K, RowMajor<float> x, RowMajor<W> w, Tensor y) {
  int64_t j = 0;
  for (; j + kColumnsAtOnce <= y.cols; j += kColumnsAtOnce)
    dot_columns<kColumnsAtOnce>(K, x, w.from(j), y.columns(j, kColumnsAtOnce));
  for (; j < y.cols; ++j) dot_columns<1>(K, x, w.from(j), y.columns(j, 1));
}

// Columns [col, col + y.cols) of the product, for fp32 and for bf16 weights.
void dot_products(Tensor x, Tensor w, int64_t col, Tensor y) {
  const RowMajor<float> terms{x.f32(), x.stride};
  if (w.dtype == DType::bf16)
    dot_block<uint16_t>(w.cols, terms, {bf16_row(w, col), w.stride}, y);
  else
    dot_block<float>(w.cols, terms, {w.row(col), w.stride}, y);
}

// sums[i][N vectors] += x[i] times the pairs of `depth` terms. The sums of a row are kMaxPairWidth apart.
template <int M, int N>
HWY_INLINE void pair_tile(int64_t depth, RowMajor<float> x, const uint32_t* w, const PairOrder& order,
                          float* sums) {
  const D d;
  const Bits bits;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto high = hn::Set(bits, 0xFFFF0000u);
  V sum[M][N];
  for (int i = 0; i < M; ++i)
    for (int j = 0; j < N; ++j) sum[i][j] = hn::LoadU(d, sums + i * kMaxPairWidth + j * lanes);
  for (int64_t k = 0; k < depth; k += 32, w += order.row_step) {
    for (int64_t p = 0; p < 16; ++p) {
      for (int j = 0; j < N; ++j) {
        hwy::Prefetch(w + order.row_step + p * order.width + j * lanes);
        const auto both = hn::LoadU(bits, w + p * order.width + j * lanes);
        const V even = hn::BitCast(d, hn::ShiftLeft<16>(both)), odd = hn::BitCast(d, hn::And(both, high));
        for (int i = 0; i < M; ++i) {
          const float* terms = x.p + i * x.stride + k + 2 * p;
          sum[i][j] = hn::MulAdd(hn::Set(d, terms[0]), even, sum[i][j]);
          sum[i][j] = hn::MulAdd(hn::Set(d, terms[1]), odd, sum[i][j]);
        }
      }
    }
  }
  for (int i = 0; i < M; ++i)
    for (int j = 0; j < N; ++j) hn::StoreU(sum[i][j], d, sums + i * kMaxPairWidth + j * lanes);
}

// pair_tile for `rows` rows of x, at most M.
template <int M, int N>
HWY_INLINE void pair_rows(int64_t rows, int64_t depth, RowMajor<float> x, const uint32_t* w,
                          const PairOrder& order, float* sums) {
  if (rows == M) return pair_tile<M, N>(depth, x, w, order, sums);
  if constexpr (M > 1) pair_rows<M - 1, N>(rows, depth, x, w, order, sums);
}

// The columns y of the product, which one block of columns of each of the pieces gives. x has
// padded_terms(K) numbers in a row.
void pair_products(Tensor x, const PairPiece* const* pieces, int64_t num_pieces, int64_t block, Tensor y) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(D())), width = pieces[0]->order.width,
                together = kColumnsAtOnce * lanes;
  HWY_ALIGN float sums[kRowsAtOnce * kMaxPairWidth];
  for (int64_t i = 0; i < y.rows; i += kRowsAtOnce) {
    const int64_t rows = std::min<int64_t>(y.rows - i, kRowsAtOnce);
    std::fill_n(sums, rows * kMaxPairWidth, 0.0f);
    for (int64_t s = 0; s < num_pieces; ++s) {
      const PairPiece& piece = *pieces[s];
      const uint32_t* w = piece.pairs + block * piece.order.col_step;
      const RowMajor<float> terms{x.row(i) + piece.k, x.stride};
      int64_t c = 0;
      for (; c + together <= width; c += together)
        pair_rows<kRowsAtOnce, kColumnsAtOnce>(rows, piece.depth, terms, w + c, piece.order, sums + c);
      for (; c < width; c += lanes)
        pair_rows<kRowsAtOnce, 1>(rows, piece.depth, terms, w + c, piece.order, sums + c);
    }
    for (int64_t r = 0; r < rows; ++r) std::copy_n(sums + r * kMaxPairWidth, y.cols, y.row(i + r));
  }
}

}  // namespace graft::engine::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace graft::engine::cpu {
namespace {

HWY_EXPORT(dot_products);
HWY_EXPORT(pair_products);

constexpr int64_t kTaskBytes = 1 << 17;  // of weights: all rows of x meet them in cache

int64_t padded_terms(int64_t K) { return (K + 31) / 32 * 32; }

// A bf16 x as fp32, with zeros up to padded_terms.
Tensor widened_rows(Tensor x) {
  const int64_t stride = padded_terms(x.cols);
  Tensor out = make_tensor(float_scratch(5, x.rows * stride), x.rows, stride);
  for (int64_t r = 0; r < x.rows; ++r) {
    const uint16_t* from = bf16_row(x, r);
    std::transform(from, from + x.cols, out.row(r), bf16_to_float);
    std::fill(out.row(r) + x.cols, out.row(r) + stride, 0.0f);
  }
  return out;
}

void finish(const Epilogue& epilogue, Tensor y, int64_t col, int64_t cols) {
  if (epilogue.run) epilogue.run(epilogue.state, y.columns(col, cols), 0, col);
}

void row_major_products(Tensor x, Tensor w, Tensor y, const Epilogue& epilogue) {
  const int64_t row_bytes = std::max<int64_t>(w.cols, 1) * static_cast<int64_t>(dtype_size(w.dtype)),
                grain = std::max<int64_t>(kTaskBytes / row_bytes / 8 * 8, 8);
  parallel_blocks(w.rows, grain, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(dot_products)(x, w, begin, y.columns(begin, end - begin));
    finish(epilogue, y, begin, end - begin);
  });
}

// One block of columns of all pieces that have it.
struct PairTask {
  size_t chunk;
  int64_t block;
};

void packed_products(Tensor x, const std::vector<PairPiece>& pieces, Tensor y, const Epilogue& epilogue) {
  size_t chunks = 0;
  while (chunks < pieces.size() && pieces[chunks].k == 0) ++chunks;
  std::vector<PairTask> tasks;
  for (size_t c = 0; c < chunks; ++c) {
    for (int64_t col = 0; col < pieces[c].cols; col += pieces[c].order.width)
      tasks.push_back({c, col / pieces[c].order.width});
  }
  parallel_for(static_cast<int64_t>(tasks.size()), [&](int64_t i) {
    const PairTask& task = tasks[static_cast<size_t>(i)];
    std::vector<const PairPiece*> column;
    for (size_t p = task.chunk; p < pieces.size(); p += chunks) column.push_back(&pieces[p]);
    const PairPiece& first = *column.front();
    const int64_t begin = task.block * first.order.width, n = std::min(first.order.width, first.cols - begin);
    HWY_DYNAMIC_DISPATCH(pair_products)
    (x, column.data(), static_cast<int64_t>(column.size()), task.block, y.columns(first.col + begin, n));
    finish(epilogue, y, first.col + begin, n);
  });
}

}  // namespace

bool row_products(Tensor x, Tensor w, Tensor y, const PackedMatrix* packed, Epilogue epilogue) {
  if (packed && packed->is_set()) w = packed->checked(w, Layout::nt, x.dtype);
  check_product("row_products", x, w, y, x.rows == y.rows && w.rows == y.cols && w.cols == x.cols);
  const bool blocked = packed && !packed->empty();
  if (blocked && packed->pair_pieces().empty()) return false;
  if (x.rows == 0) return true;
  if (x.dtype == DType::bf16) x = widened_rows(x);
  if (blocked)
    packed_products(x, packed->pair_pieces(), y, epilogue);
  else
    row_major_products(x, w, y, epilogue);
  return true;
}

}  // namespace graft::engine::cpu
#endif
