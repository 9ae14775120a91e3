// Linear layers: the product is gemm's; bias, activation and their gradients run on each tile or row block.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/cpu/linear.cpp"
#include <hwy/foreach_target.h>
// foreach_target comes first
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include "base/threads.h"
#include "engine/cpu/cpu_kernels.h"
#include "engine/cpu/gemm.h"
#include "engine/cpu/row_products.h"
#include "engine/cpu/scratch.h"
#include "engine/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace graft::engine::cpu::HWY_NAMESPACE {

// y = act(tile + bias + addend) for a tile at (row, col); `pre` keeps the sum where it is asked for.
void linear_epilogue(const LinearArgs& a, Tensor tile, int64_t row, int64_t col) {
  const bool keep = static_cast<bool>(a.pre);
  const float* bias = a.bias ? a.bias + col : nullptr;
  with_activation(a.activation, [&](auto kind) HWY_ATTR {
    for (int64_t r = 0; r < tile.rows; ++r) {
      const float* from = tile.row(r);
      const float* addend = a.addend ? a.addend.row(row + r) + col : nullptr;
      float *to = a.y.row(row + r) + col, *pre = keep ? a.pre.row(row + r) + col : nullptr;
      for_vectors(tile.cols, [&](int64_t i, auto io) HWY_ATTR {
        V v = io.load(from + i);
        if (bias) v = hn::Add(v, io.load(bias + i));
        if (addend) v = hn::Add(v, io.load(addend + i));
        if (keep) io.store(v, pre + i);
        io.store(activate<decltype(kind)::value>(v), to + i);
      });
    }
  });
}

// out = dy * act'(pre) on n numbers.
void slope_row(const float* dy, const float* pre, Activation activation, float* out, int64_t n) {
  with_activation(activation, [&](auto kind) HWY_ATTR {
    for_vectors(n, [&](int64_t i, auto io) HWY_ATTR {
      const V slope = activate_slope<decltype(kind)::value>(io.load(pre + i));
      io.store(hn::Mul(io.load(dy + i), slope), out + i);
    });
  });
}

// A finished tile of a gradient to its place. Nothing reads it soon: whole lines go past the caches.
void store_gradient_tile(Tensor tile, float* to, int64_t stride, bool add) {
  const D d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const bool past = !add && tile.cols % lanes == 0 && stride % lanes == 0 &&
                    reinterpret_cast<uintptr_t>(to) % (static_cast<size_t>(lanes) * sizeof(float)) == 0;
  for (int64_t r = 0; r < tile.rows; ++r, to += stride) {
    const float* from = tile.row(r);
    if (past) {
      for (int64_t i = 0; i < tile.cols; i += lanes) hn::Stream(hn::LoadU(d, from + i), d, to + i);
    } else {
      for_vectors(tile.cols, [&](int64_t i, auto io) HWY_ATTR {
        const V v = io.load(from + i);
        io.store(add ? hn::Add(io.load(to + i), v) : v, to + i);
      });
    }
  }
  if (past) hwy::FlushStream();
}

void add_row(const float* row, float* sums, int64_t n) {
  for_vectors(n, [&](int64_t i, auto io)
                     HWY_ATTR { io.store(hn::Add(io.load(sums + i), io.load(row + i)), sums + i); });
}

}  // namespace graft::engine::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace graft::engine::cpu {
namespace {

HWY_EXPORT(linear_epilogue);
HWY_EXPORT(slope_row);
HWY_EXPORT(add_row);
HWY_EXPORT(store_gradient_tile);

constexpr int64_t kRowBlock =
    64;  // rows per partial sum: fixed, so that sums do not depend on the thread count

}  // namespace

void store_gradient(Tensor tile, float* to, int64_t stride, bool add) {
  HWY_DYNAMIC_DISPATCH(store_gradient_tile)(tile, to, stride, add);
}

void linear(const LinearArgs& args) {
  Epilogue epilogue;
  if (args.bias || args.addend || args.activation != Activation::none || args.y_bf16) {
    epilogue.state = const_cast<LinearArgs*>(&args);
    epilogue.run = [](void* state, Tensor tile, int64_t row, int64_t col) {
      const auto& a = *static_cast<const LinearArgs*>(state);
      HWY_DYNAMIC_DISPATCH(linear_epilogue)(a, tile, row, col);
      for (int64_t r = row; a.y_bf16 && r < row + tile.rows; ++r)
        round_to_bf16(a.y.row(r) + col, bf16_row(a.y_bf16, r) + col, tile.cols);
    };
  }
  const auto* packed = static_cast<const PackedMatrix*>(args.packed);
  if (!args.by_row || !row_products(args.x, args.w, args.y, packed, epilogue))
    gemm(args.x, args.w, Layout::nt, args.y, false, packed, epilogue);
  clear_padding(args.y_bf16);
}

namespace {

// Rows [begin, end) of dy made ready for the products, in one sweep while they are in cache: times the
// activation's slope, rounded for dgrad, transposed for wgrad (panels, or null), summed for the bias (sums,
// or null). In bf16 the fp32 dy is not read again and stays as it is.
void prepare_rows(const LinearBackwardArgs& a, int64_t begin, int64_t end, float* sums, uint16_t* panels) {
  const int64_t N = a.dy.cols;
  const bool slope = a.activation != Activation::none, in_bf16 = static_cast<bool>(a.dy_bf16);
  float* buffer = float_scratch(6, in_bf16 && slope ? N : 0);
  if (sums) std::fill(sums, sums + N, 0.0f);
  for (int64_t r = begin; r < end; ++r) {
    float* row = a.dy.row(r);
    if (slope) {
      float* to = in_bf16 ? buffer : row;
      HWY_DYNAMIC_DISPATCH(slope_row)(row, a.pre.row(r), a.activation, to, N);
      row = to;
    }
    if (sums) HWY_DYNAMIC_DISPATCH(add_row)(row, sums, N);
    if (in_bf16) round_to_bf16(row, bf16_row(a.dy_bf16, r), N);
  }
  if (!in_bf16) return;
  const bool last = end == a.dy.rows;
  if (last) clear_padding(a.dy_bf16);
  if (panels) transpose_into_panels(a.dy_bf16, begin, last ? padded_rows(end) : end, panels);
}

}  // namespace

void linear_backward(const LinearBackwardArgs& args) {
  const int64_t T = args.dy.rows, N = args.dy.cols, blocks = (T + kRowBlock - 1) / kRowBlock;
  float* partial = args.db ? float_scratch(7, blocks * N) : nullptr;
  uint16_t* panels = args.dy_bf16 && args.dw && has_bf16_gemm() ? panel_memory(T, N) : nullptr;
  if (args.db || args.dy_bf16 || args.activation != Activation::none) {
    parallel_blocks(T, kRowBlock, [&](int64_t begin, int64_t end) {
      prepare_rows(args, begin, end, partial ? partial + begin / kRowBlock * N : nullptr, panels);
    });
  }
  if (args.db) {
    if (!args.add_db) std::fill(args.db, args.db + N, 0.0f);
    for (int64_t b = 0; b < blocks; ++b) HWY_DYNAMIC_DISPATCH(add_row)(partial + b * N, args.db, N);
  }
  const Tensor dy = args.dy_bf16 ? args.dy_bf16 : args.dy;
  if (args.dw && panels)
    gemm_tn(panels, args.x, args.dw, args.add_dw);
  else if (args.dw)
    gemm_tn(dy, args.x, args.dw, args.add_dw);
  if (args.dx)
    gemm(dy, args.w, Layout::nn, args.dx, args.add_dx, static_cast<const PackedMatrix*>(args.packed));
}

void activation_backward(Tensor dy, Tensor pre, Activation activation) {
  parallel_blocks(dy.rows, 16, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r)
      HWY_DYNAMIC_DISPATCH(slope_row)(dy.row(r), pre.row(r), activation, dy.row(r), dy.cols);
  });
}

}  // namespace graft::engine::cpu
#endif
