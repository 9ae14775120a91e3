// The log-softmax of a row; included once per Highway target.
#if defined(GRAFT_ENGINE_CPU_LOG_SOFTMAX_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GRAFT_ENGINE_CPU_LOG_SOFTMAX_INL_H_
#undef GRAFT_ENGINE_CPU_LOG_SOFTMAX_INL_H_
#else
#define GRAFT_ENGINE_CPU_LOG_SOFTMAX_INL_H_
#endif

#include <cmath>

#include "engine/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace graft::engine::cpu::HWY_NAMESPACE {

// Log-softmax of a row at a temperature: x * scale - shift.
struct LogSoftmax {
  V scale, shift;
  HWY_INLINE V at(V x) const { return hn::MulSub(x, scale, shift); }
};
HWY_INLINE LogSoftmax log_softmax_of(const float* x, int64_t n, float temperature) {
  const D d;
  const V scale = hn::Set(d, 1 / temperature);
  V top = hn::Set(d, -3.4e38f);
  for_vectors(n, [&](int64_t i, auto io) HWY_ATTR { top = hn::Max(top, io.load_or(x + i, -3.4e38f)); });
  const float max = max_of(top) / temperature;
  const V vm = hn::Set(d, max);
  V total = hn::Zero(d);
  for_vectors(n, [&](int64_t i, auto io) HWY_ATTR {
    total = hn::Add(total, io.keep(exp_of(hn::MulSub(io.load(x + i), scale, vm))));
  });
  return {scale, hn::Set(d, max + std::log(sum_of(total)))};
}

}  // namespace graft::engine::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
