// Gated activations: the feed-forward part of T5 (v1.1), ModernBERT and Llama-style decoders.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/cpu/gated.cpp"
#include <hwy/foreach_target.h>
// foreach_target comes first
#include <hwy/highway.h>

#include "base/threads.h"
#include "engine/cpu/cpu_kernels.h"
#include "engine/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace graft::engine::cpu::HWY_NAMESPACE {

void gated_rows(const GatedArgs& g, int64_t begin, int64_t end) {
  with_activation(g.activation, [&](auto kind) HWY_ATTR {
    for (int64_t r = begin; r < end; ++r) {
      const float *a = g.a.row(r), *b = g.b.row(r);
      float* y = g.y.row(r);
      for_vectors(g.y.cols, [&](int64_t i, auto io) HWY_ATTR {
        io.store(hn::Mul(activate<decltype(kind)::value>(io.load(a + i)), io.load(b + i)), y + i);
      });
      if (g.y_bf16) round_to_bf16(y, bf16_row(g.y_bf16, r), g.y.cols);
    }
  });
}

void gated_backward_rows(const GatedBackwardArgs& g, int64_t begin, int64_t end) {
  with_activation(g.activation, [&](auto kind) HWY_ATTR {
    for (int64_t r = begin; r < end; ++r) {
      const float *a = g.a.row(r), *b = g.b.row(r), *dy = g.dy.row(r);
      float *da = g.da ? g.da.row(r) : nullptr, *db = g.db ? g.db.row(r) : nullptr;
      for_vectors(g.dy.cols, [&](int64_t i, auto io) HWY_ATTR {
        const V x = io.load(a + i), d = io.load(dy + i);
        if (da) {
          const V v = hn::Mul(hn::Mul(d, io.load(b + i)), activate_slope<decltype(kind)::value>(x));
          io.store(g.add_da ? hn::Add(io.load(da + i), v) : v, da + i);
        }
        if (db) {
          const V v = hn::Mul(d, activate<decltype(kind)::value>(x));
          io.store(g.add_db ? hn::Add(io.load(db + i), v) : v, db + i);
        }
      });
    }
  });
}

}  // namespace graft::engine::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace graft::engine::cpu {

HWY_EXPORT(gated_rows);
HWY_EXPORT(gated_backward_rows);

namespace {
constexpr int64_t kGatedRows = 16;  // per task
}

void gated(const GatedArgs& args) {
  parallel_blocks(args.y.rows, kGatedRows, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(gated_rows)(args, begin, end);
  });
  clear_padding(args.y_bf16);
}

void gated_backward(const GatedBackwardArgs& args) {
  parallel_blocks(args.dy.rows, kGatedRows, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(gated_backward_rows)(args, begin, end);
  });
}

}  // namespace graft::engine::cpu
#endif
