// AdamW with moments in 8 bits (Dettmers et al. 2022, 8-bit Optimizers via Block-wise Quantization),
// operation by operation as bitsandbytes 0.50 on the CPU: blocks of 256 numbers share a scale, the largest
// magnitude, and each number is the nearest of 256 in the dynamic map.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/cpu/adamw_8bit.cpp"
#include <hwy/foreach_target.h>
// foreach_target comes first
#include <hwy/highway.h>

#include "base/threads.h"
#include "engine/cpu/cpu_kernels.h"
#include "engine/cpu/dynamic_map.h"
#include "engine/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace graft::engine::cpu::HWY_NAMESPACE {

// One block of n <= k8bitBlock numbers: its moments widened, moved, and rounded again.
void adamw_8bit_block(const AdamW8bitArgs& a, int64_t block) {
  const D d;
  const int64_t begin = block * k8bitBlock, n = HWY_MIN(k8bitBlock, a.n - begin);
  const DynamicMap &signed_map = dynamic_map(true), &unsigned_map = dynamic_map(false);
  HWY_ALIGN float m[k8bitBlock], v[k8bitBlock];
  signed_map.widen(a.m + begin, n, a.m_scale[block], m);
  unsigned_map.widen(a.v + begin, n, a.v_scale[block], v);
  const auto set = [&](double x) HWY_ATTR { return hn::Set(d, static_cast<float>(x)); };
  const V beta1 = set(a.beta1), beta2 = set(a.beta2), rest1 = set(1 - a.beta1), rest2 = set(1 - a.beta2);
  const V decay = set(1 - a.lr * a.weight_decay), step = set(a.lr / a.correction1);
  const V root2 = set(1 / std::sqrt(a.correction2)), eps = set(a.eps), scale = hn::Set(d, a.grad_scale);
  float* w = a.w + begin;
  const float* g = a.g + begin;
  V m_max = hn::Zero(d), v_max = hn::Zero(d);
  for_vectors(n, [&](int64_t i, auto io) HWY_ATTR {
    const V grad = hn::Mul(io.load(g + i), scale);
    const V m1 = hn::MulAdd(io.load(m + i), beta1, hn::Mul(grad, rest1));
    const V v1 = hn::MulAdd(io.load(v + i), beta2, hn::Mul(hn::Mul(grad, grad), rest2));
    const V denominator = hn::MulAdd(hn::Sqrt(v1), root2, eps);
    const V w1 = hn::NegMulAdd(step, hn::Div(m1, denominator), hn::Mul(io.load(w + i), decay));
    m_max = hn::Max(m_max, io.keep(hn::Abs(m1)));
    v_max = hn::Max(v_max, io.keep(v1));
    io.store(m1, m + i);
    io.store(v1, v + i);
    io.store(w1, w + i);
  });
  a.m_scale[block] = max_of(m_max);
  a.v_scale[block] = max_of(v_max);
  signed_map.narrow(m, n, a.m_scale[block], a.m + begin);
  unsigned_map.narrow(v, n, a.v_scale[block], a.v + begin);
}

}  // namespace graft::engine::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace graft::engine::cpu {

HWY_EXPORT(adamw_8bit_block);

void adamw_8bit(const AdamW8bitArgs& args) {
  parallel_blocks((args.n + k8bitBlock - 1) / k8bitBlock, 128, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) HWY_DYNAMIC_DISPATCH(adamw_8bit_block)(args, block);
  });
}

}  // namespace graft::engine::cpu
#endif
