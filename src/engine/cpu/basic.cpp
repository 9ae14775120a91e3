// The basic operations: scalar loops, row by row, sums in double and in order. They serve heads and losses,
// whose matrices are small beside the encoder's.
#include <algorithm>
#include <cmath>

#include "base/threads.h"
#include "engine/cpu/cpu_kernels.h"

namespace graft::engine::cpu {
namespace {

constexpr int64_t kRows = 16;  // rows, or columns, per task

// An operand that repeats along the axes where it has one element.
struct Operand {
  const float* p;
  int64_t row, col;
  explicit Operand(const Tensor& t) : p(t.f32()), row(t.rows == 1 ? 0 : t.stride), col(t.cols == 1 ? 0 : 1) {}
  double operator()(int64_t r, int64_t c) const { return p[r * row + c * col]; }
};

void put(const BasicArgs& args, int64_t r, int64_t c, double value) {
  float& out = args.out.row(r)[c];
  out = static_cast<float>(args.add ? out + value : value);
}

// f(r) for every row of t.
template <class F>
void each_row(const Tensor& t, F f) {
  parallel_blocks(t.rows, kRows, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) f(r);
  });
}

// out = f(r, c) for every element.
template <class F>
void each(const BasicArgs& args, F f) {
  each_row(args.out, [&](int64_t r) {
    for (int64_t c = 0; c < args.out.cols; ++c) put(args, r, c, f(r, c));
  });
}

double logistic(double x) { return 1 / (1 + std::exp(-x)); }

double softplus(double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))); }

double activate(Activation activation, double x) {
  if (!std::isfinite(x))
    return activation == Activation::none ? x : NAN;  // as the fused kernels (simd-inl.h)
  switch (activation) {
    case Activation::gelu:
      return 0.5 * x * (1 + std::erf(x * 0.70710678118654752440));
    case Activation::gelu_new:
      return 0.5 * x * (1 + std::tanh(0.79788456080286535588 * (x + 0.044715 * x * x * x)));
    case Activation::relu:
      return std::max(x, 0.0);
    case Activation::silu:
      return x * logistic(x);
    case Activation::tanh:
      return std::tanh(x);
    case Activation::sigmoid:
      return logistic(x);
    case Activation::gelu_10:
      return std::clamp(activate(Activation::gelu, x), -10.0, 10.0);
    case Activation::quick_gelu:
      return x * logistic(kQuickGelu * x);
    case Activation::mish:
      return x * std::tanh(softplus(x));
    case Activation::relu6:
      return std::clamp(x, 0.0, 6.0);
    case Activation::relu2:
      return x > 0 ? x * x : 0;
    case Activation::leaky_relu:
      return x > 0 ? x : kLeakyReluSlope * x;
    case Activation::hardswish:
      return x * std::clamp(x + 3, 0.0, 6.0) / 6;
    case Activation::laplace:
      return 0.5 * (1 + std::erf((x - kLaplaceMu) / (kLaplaceSigma * std::sqrt(2.0))));
    case Activation::sqrtsoftplus:
      return std::sqrt(softplus(x));
    case Activation::none:
      break;
  }
  return x;
}

// Sum over a row of f(c).
template <class F>
double row_sum(int64_t cols, F f) {
  double sum = 0;
  for (int64_t c = 0; c < cols; ++c) sum += f(c);
  return sum;
}

double row_norm(const Tensor& t, int64_t r) {
  return std::sqrt(row_sum(t.cols, [&](int64_t c) { return double{t.row(r)[c]} * double{t.row(r)[c]}; }));
}

void reduce(const BasicArgs& args) {
  const Operand a(args.a), b(args.b);
  const int64_t R = args.a.rows, C = args.a.cols;
  const auto term = [&](int64_t r, int64_t c) { return args.b ? a(r, c) * b(r, c) : a(r, c); };
  const bool rows = args.out.rows == 1 && R != 1, cols = args.out.cols == 1 && C != 1;
  if (rows && cols) {
    put(args, 0, 0, args.alpha * row_sum(R * C, [&](int64_t i) { return term(i / C, i % C); }));
  } else if (rows) {
    parallel_blocks(C, kRows, [&](int64_t begin, int64_t end) {
      for (int64_t c = begin; c < end; ++c)
        put(args, 0, c, args.alpha * row_sum(R, [&](int64_t r) { return term(r, c); }));
    });
  } else if (cols) {
    each_row(args.out, [&](int64_t r) {
      put(args, r, 0, args.alpha * row_sum(C, [&](int64_t c) { return term(r, c); }));
    });
  } else {
    each(args, [&](int64_t r, int64_t c) { return args.alpha * term(r, c); });
  }
}

void softmax(const BasicArgs& args) {
  const int64_t C = args.out.cols;
  each_row(args.out, [&](int64_t r) {
    const float* x = args.a.row(r);
    const double max = *std::max_element(x, x + C);
    const double sum = row_sum(C, [&](int64_t c) { return std::exp(x[c] - max); }), log_sum = std::log(sum);
    for (int64_t c = 0; c < C; ++c) {
      put(args, r, c, args.op == BasicOp::softmax ? std::exp(x[c] - max) / sum : x[c] - max - log_sum);
    }
  });
}

void softmax_gradient(const BasicArgs& args) {
  const Operand dy(args.a), y(args.b);
  const int64_t C = args.out.cols;
  each_row(args.out, [&](int64_t r) {
    if (args.op == BasicOp::softmax_gradient) {
      const double dot = row_sum(C, [&](int64_t c) { return dy(r, c) * y(r, c); });
      for (int64_t c = 0; c < C; ++c) put(args, r, c, y(r, c) * (dy(r, c) - dot));
    } else {
      const double sum = row_sum(C, [&](int64_t c) { return dy(r, c); });
      for (int64_t c = 0; c < C; ++c) put(args, r, c, dy(r, c) - std::exp(y(r, c)) * sum);
    }
  });
}

void normalize_gradient(const BasicArgs& args) {
  const Operand dy(args.a), x(args.b);
  const int64_t C = args.out.cols;
  each_row(args.out, [&](int64_t r) {
    const double length = row_norm(args.b, r), divisor = std::max(length, double{args.alpha});
    // Below alpha the divisor is a constant.
    const double dot = length < args.alpha ? 0 : row_sum(C, [&](int64_t c) { return dy(r, c) * x(r, c); });
    for (int64_t c = 0; c < C; ++c)
      put(args, r, c, (dy(r, c) - x(r, c) * dot / (divisor * divisor)) / divisor);
  });
}

void sequence_mean(const BasicArgs& args) {
  const Operand a(args.a);
  const bool back = args.op == BasicOp::sequence_mean_gradient;
  parallel_for(args.num_sequences, [&](int64_t s) {
    const int64_t begin = args.cu_seqlens[s], end = args.cu_seqlens[s + 1];
    const double share = end > begin ? 1.0 / static_cast<double>(end - begin) : 0.0;
    for (int64_t c = 0; c < args.out.cols; ++c) {
      if (!back) put(args, s, c, share * row_sum(end - begin, [&](int64_t r) { return a(begin + r, c); }));
      for (int64_t r = begin; back && r < end; ++r) put(args, r, c, share * a(s, c));
    }
  });
}

}  // namespace

void basic(const BasicArgs& args) {
  if (args.out.size() == 0) return;
  const Operand a(args.a), b(args.b);
  const double alpha = args.alpha;
  switch (args.op) {
    case BasicOp::fill:
      return each(args, [&](int64_t, int64_t) { return alpha; });
    case BasicOp::copy:
      return each(args, [&](int64_t r, int64_t c) { return alpha * a(r, c); });
    case BasicOp::sum:
      return each(args, [&](int64_t r, int64_t c) { return a(r, c) + alpha * b(r, c); });
    case BasicOp::product:
      return each(args, [&](int64_t r, int64_t c) { return alpha * a(r, c) * b(r, c); });
    case BasicOp::quotient:
      return each(args, [&](int64_t r, int64_t c) { return alpha * a(r, c) / b(r, c); });
    case BasicOp::exp:
      return each(args, [&](int64_t r, int64_t c) { return std::exp(a(r, c)); });
    case BasicOp::log:
      return each(args, [&](int64_t r, int64_t c) { return std::log(a(r, c)); });
    case BasicOp::activation:
      return each(args, [&](int64_t r, int64_t c) { return activate(args.activation, a(r, c)); });
    case BasicOp::reduce:
      return reduce(args);
    case BasicOp::softmax:
    case BasicOp::log_softmax:
      return softmax(args);
    case BasicOp::softmax_gradient:
    case BasicOp::log_softmax_gradient:
      return softmax_gradient(args);
    case BasicOp::norm:
      return each(args, [&](int64_t r, int64_t) { return row_norm(args.a, r); });
    case BasicOp::norm_gradient:
      return each_row(args.out, [&](int64_t r) {
        const double length = row_norm(args.b, r);
        for (int64_t c = 0; c < args.out.cols; ++c)
          put(args, r, c, length == 0 ? 0.0 : a(r, 0) * b(r, c) / length);
      });
    case BasicOp::normalize:
      return each_row(args.out, [&](int64_t r) {
        const double divisor = std::max(row_norm(args.a, r), alpha);
        for (int64_t c = 0; c < args.out.cols; ++c) put(args, r, c, a(r, c) / divisor);
      });
    case BasicOp::normalize_gradient:
      return normalize_gradient(args);
    case BasicOp::sequence_mean:
    case BasicOp::sequence_mean_gradient:
      return sequence_mean(args);
  }
}

}  // namespace graft::engine::cpu
