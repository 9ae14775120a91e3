// Vector pieces that several kernels share; included once per Highway target.
#if defined(GRAFT_ENGINE_CPU_SIMD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GRAFT_ENGINE_CPU_SIMD_INL_H_
#undef GRAFT_ENGINE_CPU_SIMD_INL_H_
#else
#define GRAFT_ENGINE_CPU_SIMD_INL_H_
#endif

#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

#include "engine/kernels.h"

HWY_BEFORE_NAMESPACE();
namespace graft::engine::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;

// Calls f(i, access) for vectors of n floats; access loads and stores whole vectors, at the end masked ones
// (lanes past the end read as 0).
struct Whole {
  HWY_INLINE V load(const float* p) const { return hn::LoadU(D(), p); }
  HWY_INLINE void store(V v, float* p) const { hn::StoreU(v, D(), p); }
  HWY_INLINE V load_or(const float* p, float) const { return load(p); }
  HWY_INLINE V keep(V v) const { return v; }
};
struct Part {
  hn::Mask<D> mask;
  size_t n;
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX2
  HWY_INLINE V load(const float* p) const { return hn::MaskedLoad(mask, D(), p); }
  HWY_INLINE void store(V v, float* p) const { hn::BlendedStore(v, mask, D(), p); }
#else
  // Without masked instructions Highway reads and writes whole vectors, the neighbour's numbers included.
  HWY_INLINE V load(const float* p) const {
    HWY_ALIGN float lanes[hn::MaxLanes(D())] = {};
    for (size_t i = 0; i < n; ++i) lanes[i] = p[i];
    return hn::Load(D(), lanes);
  }
  HWY_INLINE void store(V v, float* p) const {
    HWY_ALIGN float lanes[hn::MaxLanes(D())];
    hn::Store(v, D(), lanes);
    for (size_t i = 0; i < n; ++i) p[i] = lanes[i];
  }
#endif
  HWY_INLINE V load_or(const float* p, float other) const {
    return hn::IfThenElse(mask, load(p), hn::Set(D(), other));
  }
  HWY_INLINE V keep(V v) const { return hn::IfThenElseZero(mask, v); }
};

template <class F>
HWY_INLINE void for_vectors(int64_t n, F&& f) {
  const D d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) f(i, Whole());
  if (i < n) f(i, Part{hn::FirstN(d, static_cast<size_t>(n - i)), static_cast<size_t>(n - i)});
}

HWY_INLINE float sum_of(V v) { return hn::GetLane(hn::SumOfLanes(D(), v)); }
HWY_INLINE float max_of(V v) { return hn::GetLane(hn::MaxOfLanes(D(), v)); }

HWY_INLINE float mean_of_row(const float* x, int64_t n) {
  V sum = hn::Zero(D());
  for_vectors(n, [&](int64_t i, auto io) HWY_ATTR { sum = hn::Add(sum, io.load(x + i)); });
  return sum_of(sum) / static_cast<float>(n);
}

// Highway's Exp and Tanh give ordinary numbers for NaN, and Max(x, 0) is 0: a damaged weight would be
// answered with an ordinary score. NaN in, NaN out.
HWY_INLINE V exp_of(V x) {
  const D d;
  return hn::IfThenElse(hn::IsNaN(x), x, hn::Exp(d, x));
}
HWY_INLINE V tanh_of(V x) {
  const D d;
  return hn::IfThenElse(hn::IsNaN(x), x, hn::Tanh(d, x));
}

// erf as a ratio of polynomials in x on [-4, 4] (the float minimax of Eigen and XLA), within a few ulp.
HWY_INLINE V erf(V x) {
  const D d;
  const V c = hn::Clamp(x, hn::Set(d, -4.0f), hn::Set(d, 4.0f));
  const V s = hn::Mul(c, c);
  V p = hn::Set(d, -2.72614225801306e-10f);
  for (const float a : {2.77068142495902e-08f, -2.10102402082508e-06f, -5.69250639462346e-05f,
                        -7.34990630326855e-04f, -2.95459980854025e-03f, -1.60960333262415e-02f})
    p = hn::MulAdd(p, s, hn::Set(d, a));
  V q = hn::Set(d, -1.45660718464996e-05f);
  for (const float a :
       {-2.13374055278905e-04f, -1.68282697438203e-03f, -7.37332916720468e-03f, -1.42647390514189e-02f})
    q = hn::MulAdd(q, s, hn::Set(d, a));
  return hn::Div(hn::Mul(c, p), q);
}

HWY_INLINE V sigmoid(V x) {
  const D d;
  const V one = hn::Set(d, 1.0f);
  const V e = exp_of(hn::Neg(hn::Abs(x)));
  const V positive = hn::Div(one, hn::Add(one, e));
  return hn::IfThenElse(hn::Lt(x, hn::Zero(d)), hn::Sub(one, positive), positive);
}

// tanh(sqrt(2/pi) (x + 0.044715 x^3)) and the derivative of its argument (Hendrycks & Gimpel 2016).
HWY_INLINE V gelu_new_tanh(V x) {
  const D d;
  const V cube = hn::Mul(hn::Mul(x, x), x);
  return tanh_of(hn::Mul(hn::Set(d, 0.7978845608f), hn::MulAdd(cube, hn::Set(d, 0.044715f), x)));
}

// e^x / (1 + e^x) with the relative precision of e^x below 0, where `sigmoid` rounds to 0.
HWY_INLINE V softplus_slope(V x) {
  const D d;
  const V e = hn::Exp(d, hn::Neg(hn::Abs(x)));
  return hn::Div(hn::IfThenElse(hn::Lt(x, hn::Zero(d)), e, hn::Set(d, 1.0f)), hn::Add(hn::Set(d, 1.0f), e));
}

HWY_INLINE V softplus(V x) {
  const D d;
  return hn::Add(hn::Max(x, hn::Zero(d)), hn::Log1p(d, hn::Exp(d, hn::Neg(hn::Abs(x)))));
}

// tanh(softplus(x)) (Misra 2019) without the large e^x: with e = e^-|x|, (1 + 2e) / (1 + 2e + 2e^2) from 0 on
// and (e^2 + 2e) / (e^2 + 2e + 2) below.
HWY_INLINE V mish_tanh(V x) {
  const D d;
  const V e = hn::Exp(d, hn::Neg(hn::Abs(x))), two = hn::Set(d, 2.0f), square = hn::Mul(e, e);
  const auto negative = hn::Lt(x, hn::Zero(d));
  const V top = hn::MulAdd(two, e, hn::IfThenElse(negative, square, hn::Set(d, 1.0f)));
  return hn::Div(top, hn::Add(top, hn::IfThenElse(negative, two, hn::Mul(two, square))));
}

HWY_INLINE V laplace_argument(V x) {
  const D d;
  constexpr double kScale = 1 / (kLaplaceSigma * 1.41421356237309504880);
  return hn::Mul(hn::Sub(x, hn::Set(d, static_cast<float>(kLaplaceMu))),
                 hn::Set(d, static_cast<float>(kScale)));
}
// At finite x, and where a product with x hands NaN and infinities on.
template <Activation A>
HWY_INLINE V activate_finite(V x) {
  const D d;
  const V half = hn::Set(d, 0.5f), one = hn::Set(d, 1.0f);
  if constexpr (A == Activation::gelu) {
    return hn::Mul(hn::Mul(half, x), hn::Add(one, erf(hn::Mul(x, hn::Set(d, 0.70710678118f)))));
  } else if constexpr (A == Activation::gelu_new) {
    return hn::Mul(hn::Mul(half, x), hn::Add(one, gelu_new_tanh(x)));
  } else if constexpr (A == Activation::relu) {
    return hn::Max(x, hn::Zero(d));
  } else if constexpr (A == Activation::silu) {
    return hn::Mul(x, sigmoid(x));
  } else if constexpr (A == Activation::tanh) {
    return hn::Tanh(d, x);
  } else if constexpr (A == Activation::sigmoid) {
    return sigmoid(x);
  } else if constexpr (A == Activation::gelu_10) {
    return hn::Clamp(activate_finite<Activation::gelu>(x), hn::Set(d, -10.0f), hn::Set(d, 10.0f));
  } else if constexpr (A == Activation::quick_gelu) {
    return hn::Mul(x, sigmoid(hn::Mul(x, hn::Set(d, static_cast<float>(kQuickGelu)))));
  } else if constexpr (A == Activation::mish) {
    return hn::Mul(x, mish_tanh(x));
  } else if constexpr (A == Activation::relu6) {
    return hn::Clamp(x, hn::Zero(d), hn::Set(d, 6.0f));
  } else if constexpr (A == Activation::relu2) {
    const V positive = hn::Max(x, hn::Zero(d));
    return hn::Mul(positive, positive);
  } else if constexpr (A == Activation::leaky_relu) {
    return hn::Max(x, hn::Mul(x, hn::Set(d, static_cast<float>(kLeakyReluSlope))));
  } else if constexpr (A == Activation::hardswish) {
    const V gate = hn::Clamp(hn::Add(x, hn::Set(d, 3.0f)), hn::Zero(d), hn::Set(d, 6.0f));
    return hn::Mul(hn::Mul(x, gate), hn::Set(d, 1.0f / 6));
  } else if constexpr (A == Activation::laplace) {
    return hn::Mul(half, hn::Add(one, erf(laplace_argument(x))));
  } else if constexpr (A == Activation::sqrtsoftplus) {
    return hn::Sqrt(softplus(x));
  } else {
    return x;
  }
}

// NaN and infinities stay what they are or become NaN: an infinity in front of a function that saturates
// would be an ordinary number behind it, and a damaged weight an ordinary score. No finite pass has one.
template <Activation A>
HWY_INLINE V activate(V x) {
  constexpr bool hands_on =
      A == Activation::none || A == Activation::gelu || A == Activation::gelu_new || A == Activation::silu;
  const V y = activate_finite<A>(x);
  return hands_on ? y : hn::Add(y, hn::Sub(x, x));
}

// Derivative at x.
template <Activation A>
HWY_INLINE V activate_slope(V x) {
  const D d;
  const V half = hn::Set(d, 0.5f), one = hn::Set(d, 1.0f);
  if constexpr (A == Activation::gelu) {
    const V cdf = hn::Mul(half, hn::Add(one, erf(hn::Mul(x, hn::Set(d, 0.70710678118f)))));
    const V density = hn::Mul(hn::Set(d, 0.39894228040f), exp_of(hn::Mul(hn::Mul(x, x), hn::Set(d, -0.5f))));
    return hn::MulAdd(x, density, cdf);
  } else if constexpr (A == Activation::gelu_new) {
    const V t = gelu_new_tanh(x);
    const V slope =
        hn::Mul(hn::Set(d, 0.7978845608f), hn::MulAdd(hn::Mul(x, x), hn::Set(d, 3 * 0.044715f), one));
    return hn::MulAdd(hn::Mul(hn::Mul(half, x), hn::NegMulAdd(t, t, one)), slope,
                      hn::Mul(half, hn::Add(one, t)));
  } else if constexpr (A == Activation::relu) {
    return hn::IfThenZeroElse(hn::Le(x, hn::Zero(d)), one);  // 1 at NaN, which dy then meets
  } else if constexpr (A == Activation::silu) {
    const V s = sigmoid(x);
    return hn::Mul(s, hn::MulAdd(x, hn::Sub(one, s), one));
  } else if constexpr (A == Activation::tanh) {
    const V t = tanh_of(x);
    return hn::NegMulAdd(t, t, one);
  } else if constexpr (A == Activation::sigmoid) {
    const V s = sigmoid(x);
    return hn::Mul(s, hn::Sub(one, s));
  } else if constexpr (A == Activation::gelu_10) {
    const auto inside = hn::Le(hn::Abs(activate<Activation::gelu>(x)), hn::Set(d, 10.0f));
    return hn::IfThenElseZero(inside, activate_slope<Activation::gelu>(x));
  } else if constexpr (A == Activation::quick_gelu) {
    const V scaled = hn::Mul(x, hn::Set(d, static_cast<float>(kQuickGelu))), s = sigmoid(scaled);
    return hn::Mul(s, hn::MulAdd(scaled, hn::Sub(one, s), one));
  } else if constexpr (A == Activation::mish) {
    const V t = mish_tanh(x);
    return hn::MulAdd(hn::Mul(x, sigmoid(x)), hn::NegMulAdd(t, t, one), t);
  } else if constexpr (A == Activation::relu6) {
    return hn::IfThenElseZero(hn::And(hn::Gt(x, hn::Zero(d)), hn::Lt(x, hn::Set(d, 6.0f))), one);
  } else if constexpr (A == Activation::relu2) {
    return hn::Max(hn::Add(x, x), hn::Zero(d));
  } else if constexpr (A == Activation::leaky_relu) {
    return hn::IfThenElse(hn::Gt(x, hn::Zero(d)), one, hn::Set(d, static_cast<float>(kLeakyReluSlope)));
  } else if constexpr (A == Activation::hardswish) {
    const V ramp = hn::MulAdd(x, hn::Set(d, 1.0f / 3), half), three = hn::Set(d, 3.0f);
    return hn::IfThenElse(hn::Ge(x, three), one, hn::IfThenElseZero(hn::Gt(x, hn::Neg(three)), ramp));
  } else if constexpr (A == Activation::laplace) {
    constexpr double kPeak = 1 / (kLaplaceSigma * 2.50662827463100050242);  // 1 / (sigma sqrt(2 pi))
    const V z = laplace_argument(x);
    return hn::Mul(hn::Exp(d, hn::Neg(hn::Mul(z, z))), hn::Set(d, static_cast<float>(kPeak)));
  } else if constexpr (A == Activation::sqrtsoftplus) {
    const V root = hn::Sqrt(hn::Max(softplus(x), hn::Set(d, 1.2e-38f)));  // no denormal: those are flushed
    return hn::Div(softplus_slope(x), hn::Add(root, root));
  } else {
    return one;
  }
}

// Calls f(std::integral_constant<Activation, A>) for the run-time `activation`.
template <class F>
HWY_INLINE void with_activation(Activation activation, F&& f) {
  switch (activation) {
    case Activation::none:
      f(std::integral_constant<Activation, Activation::none>());
      break;
    case Activation::gelu:
      f(std::integral_constant<Activation, Activation::gelu>());
      break;
    case Activation::gelu_new:
      f(std::integral_constant<Activation, Activation::gelu_new>());
      break;
    case Activation::relu:
      f(std::integral_constant<Activation, Activation::relu>());
      break;
    case Activation::silu:
      f(std::integral_constant<Activation, Activation::silu>());
      break;
    case Activation::tanh:
      f(std::integral_constant<Activation, Activation::tanh>());
      break;
    case Activation::sigmoid:
      f(std::integral_constant<Activation, Activation::sigmoid>());
      break;
    case Activation::gelu_10:
      f(std::integral_constant<Activation, Activation::gelu_10>());
      break;
    case Activation::quick_gelu:
      f(std::integral_constant<Activation, Activation::quick_gelu>());
      break;
    case Activation::mish:
      f(std::integral_constant<Activation, Activation::mish>());
      break;
    case Activation::relu6:
      f(std::integral_constant<Activation, Activation::relu6>());
      break;
    case Activation::relu2:
      f(std::integral_constant<Activation, Activation::relu2>());
      break;
    case Activation::leaky_relu:
      f(std::integral_constant<Activation, Activation::leaky_relu>());
      break;
    case Activation::hardswish:
      f(std::integral_constant<Activation, Activation::hardswish>());
      break;
    case Activation::laplace:
      f(std::integral_constant<Activation, Activation::laplace>());
      break;
    case Activation::sqrtsoftplus:
      f(std::integral_constant<Activation, Activation::sqrtsoftplus>());
      break;
  }
}

using U = hn::CappedTag<uint32_t, 16>;

// High and low words of a * m for every lane.
HWY_INLINE void multiply_wide(hn::Vec<U> a, uint32_t m, hn::Vec<U>& high, hn::Vec<U>& low) {
  const U du;
  const hn::Repartition<uint64_t, U> dw;
  const auto factor = hn::Set(du, m);
  const auto even = hn::MulEven(a, factor);
  const auto odd = hn::MulEven(hn::BitCast(du, hn::ShiftRight<32>(hn::BitCast(dw, a))), factor);
  high = hn::OddEven(hn::BitCast(du, odd), hn::BitCast(du, hn::ShiftRight<32>(even)));
  low = hn::OddEven(hn::BitCast(du, hn::ShiftLeft<32>(odd)), hn::BitCast(du, even));
}

// Writes for channels [0, n) the factor 0 or `scale` of (example, position, extra) to out, whose size is n
// rounded up to 128 (kernels.h, Dropout). `extra` is 0 for rows and head + 1 for attention. Channels may
// start at 128 * first_group.
HWY_INLINE void dropout_factors(const Dropout& dropout, int64_t example, int32_t position, uint32_t extra,
                                int64_t n, float* out, int64_t first_group = 0) {
  const U du;
  const hn::Rebind<float, U> df;
  const hn::Rebind<int32_t, U> di;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(du));
  const auto below = hn::Set(di, static_cast<int32_t>(dropout.threshold()) - 1);
  const auto scale = hn::Set(df, dropout.scale());
  const auto low_half = hn::Set(du, 0xFFFFu);
  const uint64_t id = static_cast<uint64_t>(example);
  for (int64_t group = 0; group * 128 < n; ++group) {
    for (int64_t lane = 0; lane < 16; lane += lanes) {
      auto c0 = hn::Iota(du, static_cast<uint32_t>((first_group + group) * 16 + lane));
      auto c1 = hn::Set(du, static_cast<uint32_t>(position));
      auto c2 = hn::Set(du, static_cast<uint32_t>(id));
      auto c3 = hn::Set(du, static_cast<uint32_t>(id >> 32) << 16 ^ extra);
      uint32_t k0 = dropout.key.k0, k1 = dropout.key.k1;
      for (int round = 0; round < 10; ++round) {
        hn::Vec<U> h0, l0, h1, l1;
        multiply_wide(c0, 0xD2511F53u, h0, l0);
        multiply_wide(c2, 0xCD9E8D57u, h1, l1);
        c0 = hn::Xor(hn::Xor(h1, c1), hn::Set(du, k0));
        c1 = l1;
        c2 = hn::Xor(hn::Xor(h0, c3), hn::Set(du, k1));
        c3 = l0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
      }
      float* to = out + group * 128 + lane;
      const auto put = [&](hn::Vec<U> bits, int64_t half) HWY_ATTR {
        hn::StoreU(hn::IfThenElseZero(hn::RebindMask(df, hn::Gt(hn::BitCast(di, bits), below)), scale), df,
                   to + half * 16);
      };
      put(hn::And(c0, low_half), 0), put(hn::ShiftRight<16>(c0), 1);
      put(hn::And(c1, low_half), 2), put(hn::ShiftRight<16>(c1), 3);
      put(hn::And(c2, low_half), 4), put(hn::ShiftRight<16>(c2), 5);
      put(hn::And(c3, low_half), 6), put(hn::ShiftRight<16>(c3), 7);
    }
  }
}

}  // namespace graft::engine::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
