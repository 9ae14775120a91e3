// Updates of flat memory, operation by operation as torch.optim: AdamW (Kingma & Ba 2015; Loshchilov & Hutter
// 2019), SGD with momentum (Sutskever et al. 2013), RMSprop (Hinton 2012), Adagrad (Duchi et al. 2011); and
// Lion (Chen et al. 2023).
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/cpu/update.cpp"
#include <hwy/foreach_target.h>
// foreach_target comes first
#include <hwy/highway.h>

#include "base/threads.h"
#include "engine/cpu/cpu_kernels.h"
#include "engine/cpu/packed_forms.h"
#include "engine/cpu/scratch.h"
#include "engine/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace graft::engine::cpu::HWY_NAMESPACE {

void adamw_span(const UpdateArgs& a, int64_t begin, int64_t end) {
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

// The scaled gradient with torch's coupled weight decay.
HWY_INLINE V decayed(V w, V grad, V scale, V decay) { return hn::MulAdd(decay, w, hn::Mul(grad, scale)); }

void sgd_span(const UpdateArgs& a, int64_t begin, int64_t end) {
  const D d;
  const auto set = [&](double x) HWY_ATTR { return hn::Set(d, static_cast<float>(x)); };
  const V lr = set(a.lr), decay = set(a.weight_decay), scale = hn::Set(d, a.grad_scale);
  const V momentum = set(a.momentum), rest = set(1 - a.dampening);
  const bool has_g = a.g != nullptr, has_m = a.m != nullptr;
  for_vectors(end - begin, [&](int64_t j, auto io) HWY_ATTR {
    const int64_t i = begin + j;
    const V w = io.load(a.w + i);
    V grad = decayed(w, has_g ? io.load(a.g + i) : hn::Zero(d), scale, decay);
    if (has_m) {
      const V m = hn::MulAdd(momentum, io.load(a.m + i), hn::Mul(rest, grad));
      io.store(m, a.m + i);
      grad = a.nesterov ? hn::MulAdd(momentum, m, grad) : m;
    }
    io.store(hn::NegMulAdd(lr, grad, w), a.w + i);
  });
}

void lion_span(const UpdateArgs& a, int64_t begin, int64_t end) {
  const D d;
  const auto set = [&](double x) HWY_ATTR { return hn::Set(d, static_cast<float>(x)); };
  const V beta1 = set(a.beta1), beta2 = set(a.beta2), rest1 = set(1 - a.beta1), rest2 = set(1 - a.beta2);
  const V decay = set(1 - a.lr * a.weight_decay), lr = set(a.lr), scale = hn::Set(d, a.grad_scale);
  const bool has_g = a.g != nullptr;
  for_vectors(end - begin, [&](int64_t j, auto io) HWY_ATTR {
    const int64_t i = begin + j;
    const V grad = has_g ? hn::Mul(io.load(a.g + i), scale) : hn::Zero(d), m = io.load(a.m + i);
    const V mixed = hn::MulAdd(m, beta1, hn::Mul(grad, rest1));
    const V move = hn::IfThenElseZero(hn::Ne(mixed, hn::Zero(d)), hn::CopySign(lr, mixed));
    io.store(hn::Sub(hn::Mul(io.load(a.w + i), decay), move), a.w + i);
    io.store(hn::MulAdd(m, beta2, hn::Mul(grad, rest2)), a.m + i);
  });
}

// RMSprop; Adagrad where nothing of the sum of squares is forgotten.
void root_span(const UpdateArgs& a, int64_t begin, int64_t end) {
  const D d;
  const auto set = [&](double x) HWY_ATTR { return hn::Set(d, static_cast<float>(x)); };
  const bool sums = a.kind == UpdateKind::adagrad;
  const V lr = set(a.lr), decay = set(a.weight_decay), scale = hn::Set(d, a.grad_scale), eps = set(a.eps);
  const V keep = set(sums ? 1 : a.beta2), rest = set(sums ? 1 : 1 - a.beta2), momentum = set(a.momentum);
  const bool has_g = a.g != nullptr, has_m = a.m != nullptr;
  for_vectors(end - begin, [&](int64_t j, auto io) HWY_ATTR {
    const int64_t i = begin + j;
    const V w = io.load(a.w + i);
    const V grad = decayed(w, has_g ? io.load(a.g + i) : hn::Zero(d), scale, decay);
    const V v = hn::MulAdd(io.load(a.v + i), keep, hn::Mul(hn::Mul(grad, grad), rest));
    io.store(v, a.v + i);
    V move = hn::Div(grad, hn::Add(hn::Sqrt(v), eps));
    if (has_m) {
      move = hn::MulAdd(momentum, io.load(a.m + i), move);
      io.store(move, a.m + i);
    }
    io.store(hn::NegMulAdd(lr, move, w), a.w + i);
  });
}

void update_span(const UpdateArgs& a, int64_t begin, int64_t end) {
  switch (a.kind) {
    case UpdateKind::adamw:
      return adamw_span(a, begin, end);
    case UpdateKind::sgd:
      return sgd_span(a, begin, end);
    case UpdateKind::lion:
      return lion_span(a, begin, end);
    case UpdateKind::rmsprop:
    case UpdateKind::adagrad:
      return root_span(a, begin, end);
  }
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

HWY_EXPORT(update_span);
HWY_EXPORT(square_span);

void update(const UpdateArgs& args) {
  if (KeptForms forms(args.store, args.parameter); forms) {
    parallel_blocks(forms.bands(), 8, [&](int64_t begin, int64_t end) {
      for (int64_t band = begin; band < end; ++band) {
        HWY_DYNAMIC_DISPATCH(update_span)(args, band * forms.band_size(), (band + 1) * forms.band_size());
        forms.pack(args.w, band);
      }
    });
    return forms.settle();
  }
  parallel_blocks(args.n, 1 << 16, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(update_span)(args, begin, end);
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
