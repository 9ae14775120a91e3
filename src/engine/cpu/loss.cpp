// Losses and their gradients; row terms in fp32, sums in double in a fixed order.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/cpu/loss.cpp"
#include <hwy/foreach_target.h>
// foreach_target comes first
#include <hwy/highway.h>

#include "base/threads.h"
#include "engine/cpu/cpu_kernels.h"
#include "engine/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace graft::engine::cpu::HWY_NAMESPACE {

// max and sum of exp(x - max) of a row.
void softmax_parts(const float* x, int64_t n, float* max, float* sum) {
  const D d;
  V top = hn::Set(d, -3.4e38f);
  for_vectors(n, [&](int64_t i, auto io) HWY_ATTR { top = hn::Max(top, io.load_or(x + i, -3.4e38f)); });
  const float m = max_of(top);
  const V vm = hn::Set(d, m);
  V total = hn::Zero(d);
  for_vectors(n, [&](int64_t i, auto io)
                     HWY_ATTR { total = hn::Add(total, io.keep(exp_of(hn::Sub(io.load(x + i), vm)))); });
  *max = m;
  *sum = sum_of(total);
}

void cross_entropy_rows(const CrossEntropyArgs& a, int64_t begin, int64_t end) {
  const D d;
  for (int64_t r = begin; r < end; ++r) {
    const float* x = a.logits.row(r);
    const int32_t label = a.labels[r];
    float max = 0, sum = 1;
    if (label >= 0) softmax_parts(x, a.logits.cols, &max, &sum);
    if (!a.dlogits) {
      a.scratch[r] =
          label >= 0 ? static_cast<double>(max - x[label]) + std::log(static_cast<double>(sum)) : 0.0;
      continue;
    }
    float* dx = a.dlogits.row(r);
    if (label < 0) {
      std::fill(dx, dx + a.logits.cols, 0.0f);
      continue;
    }
    const float grad = static_cast<float>(*a.grad / a.denominator);
    const V vm = hn::Set(d, max), factor = hn::Set(d, grad / sum);
    for_vectors(a.logits.cols, [&](int64_t i, auto io) HWY_ATTR {
      io.store(hn::Mul(exp_of(hn::Sub(io.load(x + i), vm)), factor), dx + i);
    });
    dx[label] -= grad;
  }
}

}  // namespace graft::engine::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <cmath>

namespace graft::engine::cpu {

HWY_EXPORT(cross_entropy_rows);

void cross_entropy(const CrossEntropyArgs& args) {
  const int64_t R = args.logits.rows;
  parallel_blocks(R, 4, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(cross_entropy_rows)(args, begin, end);
  });
  if (args.dlogits) return;
  double sum = 0;
  for (int64_t r = 0; r < R; ++r) {
    sum += args.scratch[r];
    if (args.total) *args.total += args.scratch[r];
  }
  *args.loss = static_cast<float>(sum / args.denominator);
}

void element_loss(const ElementLossArgs& args) {
  double sum = 0;
  for (int64_t r = 0; r < args.logits.rows; ++r) {
    for (int64_t c = 0; c < args.logits.cols; ++c) {
      const double x = args.logits.row(r)[c], y = args.targets.row(r)[c];
      if (args.dlogits) {
        const double slope = args.squared ? 2 * (x - y) : 1 / (1 + std::exp(-x)) - y;
        args.dlogits.row(r)[c] = static_cast<float>(slope * *args.grad / args.denominator);
      } else {
        // log(1 + exp(-|x|)) form: no overflow at either end
        const double term =
            args.squared ? (x - y) * (x - y) : std::max(x, 0.0) - x * y + std::log1p(std::exp(-std::fabs(x)));
        sum += term;
        if (args.total) *args.total += term;
      }
    }
  }
  if (!args.dlogits) *args.loss = static_cast<float>(sum / args.denominator);
}

}  // namespace graft::engine::cpu
#endif
