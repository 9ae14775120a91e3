// Linear layers: the product is gemm's; bias, activation and their gradients run on each tile or row block.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/cpu/linear.cpp"
#include <hwy/foreach_target.h>
// foreach_target comes first
#include <hwy/highway.h>

#include "base/threads.h"
#include "engine/cpu/cpu_kernels.h"
#include "engine/cpu/gemm.h"
#include "engine/cpu/scratch.h"
#include "engine/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace graft::engine::cpu::HWY_NAMESPACE {

// One tile of y = act(pre + bias); `pre` keeps the sum where it is asked for.
void linear_epilogue(const LinearArgs& a, int64_t row, int64_t num_rows, int64_t col, int64_t num_cols) {
  const bool keep = static_cast<bool>(a.pre);
  with_activation(a.activation, [&](auto kind) HWY_ATTR {
    for (int64_t r = row; r < row + num_rows; ++r) {
      float* from = (keep ? a.pre : a.y).row(r) + col;
      float* to = a.y.row(r) + col;
      const float* bias = a.bias ? a.bias + col : nullptr;
      for_vectors(num_cols, [&](int64_t i, auto io) HWY_ATTR {
        V v = io.load(from + i);
        if (bias) v = hn::Add(v, io.load(bias + i));
        if (keep) io.store(v, from + i);
        io.store(activate<decltype(kind)::value>(v), to + i);
      });
    }
  });
}

// dy *= act'(pre) on rows [begin, end).
void activation_rows(Tensor dy, Tensor pre, Activation activation, int64_t begin, int64_t end) {
  with_activation(activation, [&](auto kind) HWY_ATTR {
    for (int64_t r = begin; r < end; ++r) {
      for_vectors(dy.cols, [&](int64_t i, auto io) HWY_ATTR {
        const V slope = activate_slope<decltype(kind)::value>(io.load(pre.row(r) + i));
        io.store(hn::Mul(io.load(dy.row(r) + i), slope), dy.row(r) + i);
      });
    }
  });
}

// sums[cols] = column sums over rows [begin, end), in order.
void column_sums(Tensor t, int64_t begin, int64_t end, float* sums) {
  std::fill(sums, sums + t.cols, 0.0f);
  for (int64_t r = begin; r < end; ++r) {
    for_vectors(t.cols, [&](int64_t i, auto io) HWY_ATTR {
      io.store(hn::Add(io.load(sums + i), io.load(t.row(r) + i)), sums + i);
    });
  }
}

}  // namespace graft::engine::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace graft::engine::cpu {
namespace {

HWY_EXPORT(linear_epilogue);
HWY_EXPORT(activation_rows);
HWY_EXPORT(column_sums);

constexpr int64_t kRowBlock =
    64;  // rows per partial sum: fixed, so that sums do not depend on the thread count

}  // namespace

void linear(const LinearArgs& args) {
  Epilogue epilogue;
  if (args.bias || args.activation != Activation::none) {
    epilogue.state = const_cast<LinearArgs*>(&args);
    epilogue.run = [](void* state, int64_t row, int64_t num_rows, int64_t col, int64_t num_cols) {
      HWY_DYNAMIC_DISPATCH(linear_epilogue)
      (*static_cast<const LinearArgs*>(state), row, num_rows, col, num_cols);
    };
  }
  gemm(args.x, args.w, Layout::nt, args.pre ? args.pre : args.y, false,
       static_cast<const PackedMatrix*>(args.packed), epilogue);
}

void add_column_sums(Tensor t, float* out, bool add) {
  const int64_t blocks = (t.rows + kRowBlock - 1) / kRowBlock;
  float* partial = float_scratch(7, blocks * t.cols);
  parallel_for(blocks, [&](int64_t b) {
    HWY_DYNAMIC_DISPATCH(column_sums)
    (t, b * kRowBlock, std::min(t.rows, (b + 1) * kRowBlock), partial + b * t.cols);
  });
  if (!add) std::fill(out, out + t.cols, 0.0f);
  for (int64_t b = 0; b < blocks; ++b) {
    for (int64_t i = 0; i < t.cols; ++i) out[i] += partial[b * t.cols + i];
  }
}

void linear_backward(const LinearBackwardArgs& args) {
  if (args.db) add_column_sums(args.dy, args.db, args.add_db);
  Tensor dy = args.dy;
  if (args.dy_low) {
    to_bf16(args.dy, args.dy_low);
    dy = args.dy_low;
  }
  if (args.dw) gemm_tn(dy, args.x, args.dw, args.add_dw);
  if (args.dx)
    gemm(dy, args.w, Layout::nn, args.dx, args.add_dx, static_cast<const PackedMatrix*>(args.packed));
}

void activation_backward(Tensor dy, Tensor pre, Activation activation) {
  parallel_blocks(dy.rows, 16, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(activation_rows)(dy, pre, activation, begin, end);
  });
}

}  // namespace graft::engine::cpu
#endif
