// AdamW over flat memory (Kingma & Ba 2015; Loshchilov & Hutter 2019), operation by operation as
// torch.optim.AdamW.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/cpu/adamw.cpp"
#include <hwy/foreach_target.h>
// foreach_target comes first
#include <hwy/highway.h>

#include "base/threads.h"
#include "engine/cpu/cpu_kernels.h"
#include "engine/cpu/scratch.h"
#include "engine/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace graft::engine::cpu::HWY_NAMESPACE {

void adamw_span(const AdamWArgs& a, int64_t begin, int64_t end) {
  const D d;
  const auto set = [&](double x) HWY_ATTR { return hn::Set(d, static_cast<float>(x)); };
  const V beta1 = set(a.beta1), beta2 = set(a.beta2), rest1 = set(1 - a.beta1), rest2 = set(1 - a.beta2);
  const V decay = set(1 - a.lr * a.weight_decay), step = set(a.lr / a.correction1);
  const V root2 = set(1 / std::sqrt(a.correction2)), eps = set(a.eps), scale = hn::Set(d, a.grad_scale);
  const bool has_g = a.g != nullptr;
  float *w = a.w + begin, *m = a.m + begin, *v = a.v + begin;
  const float* g = has_g ? a.g + begin : nullptr;
  for_vectors(end - begin, [&](int64_t i, auto io) HWY_ATTR {
    const V grad = has_g ? hn::Mul(io.load(g + i), scale) : hn::Zero(d);
    const V m1 = hn::MulAdd(io.load(m + i), beta1, hn::Mul(grad, rest1));
    const V v1 = hn::MulAdd(io.load(v + i), beta2, hn::Mul(hn::Mul(grad, grad), rest2));
    const V denominator = hn::MulAdd(hn::Sqrt(v1), root2, eps);
    const V w1 = hn::NegMulAdd(step, hn::Div(m1, denominator), hn::Mul(io.load(w + i), decay));
    io.store(m1, m + i);
    io.store(v1, v + i);
    io.store(w1, w + i);
  });
}

double square_span(const float* x, int64_t n) {
  const D d;
  V sum = hn::Zero(d);
  for_vectors(n, [&](int64_t i, auto io) HWY_ATTR {
    const V v = io.load(x + i);
    sum = hn::MulAdd(v, v, sum);
  });
  return static_cast<double>(sum_of(sum));
}

}  // namespace graft::engine::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <algorithm>

namespace graft::engine::cpu {

HWY_EXPORT(adamw_span);
HWY_EXPORT(square_span);

void adamw(const AdamWArgs& args) {
  parallel_blocks(args.n, 1 << 16, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(adamw_span)(args, begin, end);
  });
}

double sum_of_squares(const float* x, int64_t n) {
  constexpr int64_t kBlock = 1 << 12;     // short float sums, joined in double in order
  constexpr int64_t kTask = 32 * kBlock;  // long enough for a thread to read ahead
  const int64_t blocks = (n + kBlock - 1) / kBlock;
  auto* sums = reinterpret_cast<double*>(float_scratch(4, 2 * blocks));
  parallel_blocks(n, kTask, [&](int64_t first, int64_t last) {
    for (int64_t begin = first; begin < last; begin += kBlock) {
      sums[begin / kBlock] = HWY_DYNAMIC_DISPATCH(square_span)(x + begin, std::min(kBlock, last - begin));
    }
  });
  double sum = 0;
  for (int64_t b = 0; b < blocks; ++b) sum += sums[b];
  return sum;
}

}  // namespace graft::engine::cpu
#endif
