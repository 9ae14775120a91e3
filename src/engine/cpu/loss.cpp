// Losses and their gradients; row terms in fp32, sums in double in a fixed order.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/cpu/loss.cpp"
#include <hwy/foreach_target.h>
// foreach_target comes first
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>

#include "base/threads.h"
#include "engine/cpu/cpu_kernels.h"
#include "engine/cpu/log_softmax-inl.h"
#include "engine/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace graft::engine::cpu::HWY_NAMESPACE {

// max and sum of exp(x - max) of a row. The sum of a large vocabulary is one of parts in double: in fp32
// alone its rounding errors, over few lanes, reach 4e-6.
void softmax_parts(const float* x, int64_t n, float* max, float* sum) {
  const D d;
  V top = hn::Set(d, -3.4e38f);
  for_vectors(n, [&](int64_t i, auto io) HWY_ATTR { top = hn::Max(top, io.load_or(x + i, -3.4e38f)); });
  const float m = max_of(top);
  const V vm = hn::Set(d, m);
  constexpr int64_t kPart = 4096;
  double all = 0;
  for (int64_t begin = 0; begin < n; begin += kPart) {
    V total = hn::Zero(d);
    const float* part = x + begin;
    for_vectors(std::min(kPart, n - begin), [&](int64_t i, auto io) HWY_ATTR {
      total = hn::Add(total, io.keep(exp_of(hn::Sub(io.load(part + i), vm))));
    });
    all += static_cast<double>(sum_of(total));
  }
  *max = m;
  *sum = static_cast<float>(all);
}

// to (+)= from, of n numbers
template <class F>
HWY_INLINE void put_gradient(float* to, bool add, int64_t n, F&& from) {
  for_vectors(n, [&](int64_t i, auto io) HWY_ATTR {
    const V v = from(i, io);
    io.store(add ? hn::Add(io.load(to + i), v) : v, to + i);
  });
}

// A row's term: -log softmax of the label, and the mean of that over all classes.
double cross_entropy_term(const CrossEntropyArgs& a, const float* x, int32_t label, float max, float sum) {
  const double log_sum = std::log(static_cast<double>(sum)),
               term = static_cast<double>(max - x[label]) + log_sum;
  if (a.label_smoothing == 0) return term;
  const double smooth = static_cast<double>(max - mean_of_row(x, a.logits.cols)) + log_sum,
               s = a.label_smoothing;
  return (1 - s) * term + s * smooth;
}

// Factors of a row's term and of its gradient, from its -log p.
struct RowFactors {
  double term = 1, slope = 1;
};
RowFactors row_factors(const CrossEntropyArgs& a, int32_t label, double nll) {
  RowFactors f;
  if (a.class_weights) f.term = f.slope = static_cast<double>(a.class_weights[label]);
  if (a.focal_gamma == 0) return f;
  // d/dlog p of -(1 - p)^gamma log p is -((1 - p)^gamma - gamma p (1 - p)^(gamma - 1) log p).
  const double p = std::exp(-nll), rest = -std::expm1(-nll), gamma = a.focal_gamma,
               power = std::pow(rest, gamma);
  f.term *= power;
  f.slope *= power + (rest > 0 ? gamma * p * nll * power / rest : 0);
  return f;
}

void cross_entropy_rows(const CrossEntropyArgs& a, int64_t begin, int64_t end) {
  const D d;
  const int64_t n = a.logits.cols;
  const bool has_factors = a.class_weights || a.focal_gamma != 0;
  for (int64_t r = begin; r < end; ++r) {
    const float* x = a.logits.row(r);
    const int32_t label = a.labels[r];
    float max = 0, sum = 1;
    if (label >= 0) softmax_parts(x, n, &max, &sum);
    if (!a.dlogits) {
      a.scratch[r] = label >= 0 ? cross_entropy_term(a, x, label, max, sum) : 0.0;
      if (has_factors && label >= 0) a.scratch[r] *= row_factors(a, label, a.scratch[r]).term;
      if (a.right) a.right[r] = label >= 0 && x[label] == max;
      continue;
    }
    float* dx = a.dlogits.row(r);
    if (label < 0) {
      if (!a.add) std::fill(dx, dx + n, 0.0f);
      continue;
    }
    double slope = *a.grad / a.denominator;
    if (has_factors) slope *= row_factors(a, label, cross_entropy_term(a, x, label, max, sum)).slope;
    const float grad = static_cast<float>(slope);
    const float rest = a.label_smoothing * grad / static_cast<float>(n);  // of every class
    const V vm = hn::Set(d, max), factor = hn::Set(d, grad / sum), vr = hn::Set(d, rest);
    put_gradient(dx, a.add, n, [&](int64_t i, auto io) HWY_ATTR {
      return hn::Sub(hn::Mul(exp_of(hn::Sub(io.load(x + i), vm)), factor), vr);
    });
    dx[label] -= grad - a.label_smoothing * grad;
  }
}

void kl_divergence_rows(const KlDivergenceArgs& a, int64_t begin, int64_t end) {
  const D d;
  const int64_t n = a.logits.cols;
  const bool back = a.dlogits || a.dtarget;
  for (int64_t r = begin; r < end; ++r) {
    const float *x = a.logits.row(r), *y = a.target.row(r);
    const LogSoftmax q = log_softmax_of(x, n, a.temperature), p = log_softmax_of(y, n, a.temperature);
    V sum = hn::Zero(d);
    for_vectors(n, [&](int64_t i, auto io) HWY_ATTR {
      const V log_p = p.at(io.load(y + i));
      sum = hn::Add(sum, io.keep(hn::Mul(exp_of(log_p), hn::Sub(log_p, q.at(io.load(x + i))))));
    });
    const float divergence = sum_of(sum);
    if (!back) {
      a.scratch[r] = static_cast<double>(divergence);
      continue;
    }
    const V grad =
                hn::Set(d, static_cast<float>(*a.grad / a.denominator / static_cast<double>(a.temperature))),
            mean = hn::Set(d, divergence);
    if (a.dlogits) {
      put_gradient(a.dlogits.row(r), a.add_dlogits, n, [&](int64_t i, auto io) HWY_ATTR {
        return hn::Mul(hn::Sub(exp_of(q.at(io.load(x + i))), exp_of(p.at(io.load(y + i)))), grad);
      });
    }
    if (a.dtarget) {
      put_gradient(a.dtarget.row(r), a.add_dtarget, n, [&](int64_t i, auto io) HWY_ATTR {
        const V log_p = p.at(io.load(y + i)), ratio = hn::Sub(log_p, q.at(io.load(x + i)));
        return hn::Mul(hn::Mul(exp_of(log_p), hn::Sub(ratio, mean)), grad);
      });
    }
  }
}

}  // namespace graft::engine::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace graft::engine::cpu {

HWY_EXPORT(cross_entropy_rows);
HWY_EXPORT(kl_divergence_rows);

namespace {

// The terms of the rows, in order.
template <class Args>
void sum_terms(const Args& args) {
  double sum = 0;
  for (int64_t r = 0; r < args.logits.rows; ++r) {
    sum += args.scratch[r];
    if (args.total) *args.total += args.scratch[r];
  }
  *args.loss = static_cast<float>(sum / args.denominator);
}

}  // namespace

void cross_entropy(const CrossEntropyArgs& args) {
  parallel_blocks(args.logits.rows, 4, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(cross_entropy_rows)(args, begin, end);
  });
  if (!args.dlogits) sum_terms(args);
}

void kl_divergence(const KlDivergenceArgs& args) {
  parallel_blocks(args.logits.rows, 4, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(kl_divergence_rows)(args, begin, end);
  });
  if (!args.dlogits && !args.dtarget) sum_terms(args);
}

void element_loss(const ElementLossArgs& args) {
  double sum = 0;
  for (int64_t r = 0; r < args.logits.rows; ++r) {
    for (int64_t c = 0; c < args.logits.cols; ++c) {
      const double x = args.logits.row(r)[c], y = args.targets.row(r)[c];
      if (args.dlogits) {
        const double slope = args.squared ? 2 * (x - y) : 1 / (1 + std::exp(-x)) - y;
        float& out = args.dlogits.row(r)[c];
        const float term = static_cast<float>(slope * *args.grad / args.denominator);
        out = args.add ? out + term : term;
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
