// Rotary position embeddings, in place.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/cpu/rotary.cpp"
#include <hwy/foreach_target.h>
// foreach_target comes first
#include <hwy/highway.h>

#include "base/threads.h"
#include "engine/cpu/cpu_kernels.h"
#include "engine/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace graft::engine::cpu::HWY_NAMESPACE {

void rotary_rows(const RotaryArgs& a, int64_t begin, int64_t end) {
  const D d;
  const int64_t half = a.head_dim / 2;
  const V sign = hn::Set(d, a.backward ? -1.0f : 1.0f);
  for (int64_t r = begin; r < end; ++r) {
    const float *cosines = a.table + a.position[r] * a.head_dim, *sines = cosines + half;
    for (int64_t h = 0; h < a.num_heads; ++h) {
      float *first = a.x.row(r) + h * a.head_dim, *second = first + half;
      for_vectors(half, [&](int64_t i, auto io) HWY_ATTR {
        const V x1 = io.load(first + i), x2 = io.load(second + i), c = io.load(cosines + i),
                s = hn::Mul(io.load(sines + i), sign);
        io.store(hn::NegMulAdd(x2, s, hn::Mul(x1, c)), first + i);
        io.store(hn::MulAdd(x1, s, hn::Mul(x2, c)), second + i);
      });
    }
  }
}

}  // namespace graft::engine::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace graft::engine::cpu {

HWY_EXPORT(rotary_rows);

void rotary(const RotaryArgs& args) {
  parallel_blocks(args.x.rows, 16, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(rotary_rows)(args, begin, end);
  });
}

}  // namespace graft::engine::cpu
#endif
