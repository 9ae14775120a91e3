#include "engine/plain_twins.h"

#include <algorithm>
#include <cmath>

#include "base/philox.h"

namespace graft::engine::twin {

Mat::Mat(const test::Matrix& m) : rows(m.rows), cols(m.cols), v(m.v.begin(), m.v.end()) {}

void expect_close(const test::Matrix& got, const Mat& want, double tolerance, const std::string& what,
                  double elementwise) {
  ASSERT_EQ(got.rows, want.rows) << what;
  ASSERT_EQ(got.cols, want.cols) << what;
  double largest = 1e-3, worst = 0;
  std::vector<double> row_scale(static_cast<size_t>(want.rows)), col_scale(static_cast<size_t>(want.cols));
  const auto each = [&](auto f) {
    for (int64_t r = 0; r < want.rows; ++r) {
      for (int64_t c = 0; c < want.cols; ++c)
        f(static_cast<size_t>(r), static_cast<size_t>(c), static_cast<size_t>(r * want.cols + c));
    }
  };
  each([&](size_t r, size_t c, size_t i) {
    const double x = std::fabs(want.v[i]);
    largest = std::max(largest, x);
    row_scale[r] = std::max(row_scale[r], x);
    col_scale[c] = std::max(col_scale[c], x);
  });
  size_t where = 0;
  each([&](size_t r, size_t c, size_t i) {
    // The terms that an element sums, and with them its rounding errors, are as large as its row and its
    // column are: rows of small numbers are held to their own scale. A fifth of the largest allows for terms
    // that cancel.
    const double own =
        std::max({std::sqrt(row_scale[r] * col_scale[c]), std::fabs(want.v[i]), 0.2 * largest});
    const double error = std::fabs(double{got.v[i]} - want.v[i]);
    const double relative = std::max(error / largest, error / (own * elementwise));
    if (!(relative <= worst)) worst = relative, where = i;
  });
  EXPECT_LE(worst, tolerance) << what << ": at [" << static_cast<int64_t>(where) / want.cols << ", "
                              << static_cast<int64_t>(where) % want.cols << "] got " << got.v[where]
                              << " for " << want.v[where] << "; the largest is " << largest;
}

namespace {
constexpr double kSqrt2OverPi = 0.79788456080286535588, kInvSqrt2Pi = 0.39894228040143267794;
double logistic(double x) { return 1 / (1 + std::exp(-x)); }
double softplus(double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::fabs(x))); }
}  // namespace

double activate(Activation activation, double x) {
  switch (activation) {
    case Activation::gelu:
      return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
    case Activation::gelu_new:
      return 0.5 * x * (1 + std::tanh(kSqrt2OverPi * (x + 0.044715 * x * x * x)));
    case Activation::relu:
      return x > 0 ? x : 0;
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
    default:
      return x;
  }
}

double activate_slope(Activation activation, double x) {
  switch (activation) {
    case Activation::gelu:
      return 0.5 * (1 + std::erf(x / std::sqrt(2.0))) + x * kInvSqrt2Pi * std::exp(-0.5 * x * x);
    case Activation::gelu_new: {
      const double t = std::tanh(kSqrt2OverPi * (x + 0.044715 * x * x * x));
      return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * kSqrt2OverPi * (1 + 3 * 0.044715 * x * x);
    }
    case Activation::relu:
      return x > 0 ? 1 : 0;
    case Activation::silu:
      return logistic(x) * (1 + x * (1 - logistic(x)));
    case Activation::tanh:
      return 1 - std::tanh(x) * std::tanh(x);
    case Activation::sigmoid:
      return logistic(x) * (1 - logistic(x));
    case Activation::gelu_10:
      return std::fabs(activate(Activation::gelu, x)) <= 10 ? activate_slope(Activation::gelu, x) : 0;
    case Activation::quick_gelu: {
      const double s = logistic(kQuickGelu * x);
      return s * (1 + kQuickGelu * x * (1 - s));
    }
    case Activation::mish: {
      const double t = std::tanh(softplus(x));
      return t + x * (1 - t * t) * logistic(x);
    }
    case Activation::relu6:
      return x > 0 && x < 6 ? 1 : 0;
    case Activation::relu2:
      return x > 0 ? 2 * x : 0;
    case Activation::leaky_relu:
      return x > 0 ? 1 : kLeakyReluSlope;
    case Activation::hardswish:
      return x <= -3 ? 0 : x < 3 ? x / 3 + 0.5 : 1;
    case Activation::laplace: {
      const double z = (x - kLaplaceMu) / kLaplaceSigma;
      return kInvSqrt2Pi / kLaplaceSigma * std::exp(-0.5 * z * z);
    }
    case Activation::sqrtsoftplus:
      return logistic(x) / (2 * std::sqrt(softplus(x)));
    default:
      return 1;
  }
}

LinearOut linear(const Mat& x, const Mat& w, const Mat& b, Activation activation) {
  LinearOut out{Mat(x.rows, w.rows), Mat(x.rows, w.rows)};
  for (int64_t t = 0; t < x.rows; ++t) {
    for (int64_t n = 0; n < w.rows; ++n) {
      double sum = b.v.empty() ? 0 : b(0, n);
      for (int64_t k = 0; k < w.cols; ++k) sum += x(t, k) * w(n, k);
      out.pre(t, n) = sum;
      out.y(t, n) = activate(activation, sum);
    }
  }
  return out;
}

LinearGrads linear_backward(const Mat& x, const Mat& w, const LinearOut& out, Activation activation,
                            const Mat& dy) {
  LinearGrads g{Mat(x.rows, x.cols), Mat(w.rows, w.cols), Mat(1, w.rows)};
  for (int64_t t = 0; t < x.rows; ++t) {
    for (int64_t n = 0; n < w.rows; ++n) {
      const double d = dy(t, n) * activate_slope(activation, out.pre(t, n));
      g.db(0, n) += d;
      for (int64_t k = 0; k < w.cols; ++k) {
        g.dx(t, k) += d * w(n, k);
        g.dw(n, k) += d * x(t, k);
      }
    }
  }
  return g;
}

double dropout_factor(const Dropout& dropout, int64_t example, int32_t position, uint32_t extra,
                      int64_t channel) {
  const uint32_t block = static_cast<uint32_t>(channel / 128 * 16 + channel % 16);
  const uint32_t half = static_cast<uint32_t>(channel % 128 / 16);
  const auto words =
      philox4x32(dropout.key, {block, static_cast<uint32_t>(position), static_cast<uint32_t>(example),
                               static_cast<uint32_t>(example >> 32) << 16 ^ extra});
  const uint32_t bits = words[half / 2] >> (half % 2 * 16) & 0xFFFFu;
  const double threshold = std::floor(double{dropout.p} * 65536 + 0.5);
  return bits < threshold ? 0.0 : 65536 / (65536 - threshold);
}

Mat dropout_factors(const Dropout& dropout, const Rows& rows, int64_t H) {
  Mat f(rows.num_rows, H);
  for (int64_t r = 0; r < rows.num_rows; ++r) {
    for (int64_t c = 0; c < H; ++c)
      f(r, c) = dropout_factor(dropout, rows.example[rows.sequence[r]], rows.position[r], 0, c);
  }
  return f;
}

namespace {
struct Moments {
  double mean, rstd;
};
Moments moments(const Mat& z, int64_t r, double eps, NormKind kind) {
  double mean = 0, variance = 0;
  for (int64_t c = 0; kind == NormKind::layer_norm && c < z.cols; ++c)
    mean += z(r, c) / static_cast<double>(z.cols);
  for (int64_t c = 0; c < z.cols; ++c)
    variance += (z(r, c) - mean) * (z(r, c) - mean) / static_cast<double>(z.cols);
  return {mean, 1 / std::sqrt(variance + eps)};
}
}  // namespace

NormOut residual_norm(const Mat& x, const Mat& residual, const Mat& factors, const Mat& gamma,
                      const Mat& beta, double eps, NormKind kind) {
  NormOut out{x, Mat(x.rows, x.cols)};
  for (int64_t r = 0; r < x.rows; ++r) {
    for (int64_t c = 0; c < x.cols; ++c) {
      if (!factors.v.empty()) out.z(r, c) *= factors(r, c);
      if (!residual.v.empty()) out.z(r, c) += residual(r, c);
    }
    const Moments m = moments(out.z, r, eps, kind);
    for (int64_t c = 0; c < x.cols; ++c)
      out.y(r, c) = (out.z(r, c) - m.mean) * m.rstd * gamma(0, c) + (beta.v.empty() ? 0 : beta(0, c));
  }
  return out;
}

NormGrads norm_backward(const Mat& z, const Mat& gamma, double eps, const Mat& dy, NormKind kind) {
  NormGrads g{Mat(z.rows, z.cols), Mat(1, z.cols), Mat(1, z.cols)};
  const double H = static_cast<double>(z.cols);
  for (int64_t r = 0; r < z.rows; ++r) {
    const Moments m = moments(z, r, eps, kind);
    double sum = 0, dot = 0;
    for (int64_t c = 0; c < z.cols; ++c) {
      const double xhat = (z(r, c) - m.mean) * m.rstd, d = dy(r, c) * gamma(0, c);
      sum += d;
      dot += d * xhat;
      g.dgamma(0, c) += dy(r, c) * xhat;
      g.dbeta(0, c) += dy(r, c);
    }
    if (kind == NormKind::rms_norm) sum = 0;  // its mean is the constant 0
    for (int64_t c = 0; c < z.cols; ++c) {
      const double xhat = (z(r, c) - m.mean) * m.rstd;
      g.dz(r, c) = m.rstd * (dy(r, c) * gamma(0, c) - sum / H - xhat * dot / H);
    }
  }
  return g;
}

Mat gated(const Mat& a, const Mat& b, Activation activation) {
  Mat y(a.rows, a.cols);
  for (size_t i = 0; i < y.v.size(); ++i) y.v[i] = activate(activation, a.v[i]) * b.v[i];
  return y;
}

GatedGrads gated_backward(const Mat& a, const Mat& b, Activation activation, const Mat& dy) {
  GatedGrads g{Mat(a.rows, a.cols), Mat(a.rows, a.cols)};
  for (size_t i = 0; i < dy.v.size(); ++i) {
    g.da.v[i] = dy.v[i] * b.v[i] * activate_slope(activation, a.v[i]);
    g.db.v[i] = dy.v[i] * activate(activation, a.v[i]);
  }
  return g;
}

Mat rotary(const Mat& x, int64_t num_heads, int64_t head_dim, double theta, const int32_t* position) {
  Mat y = x;
  const int64_t half = head_dim / 2;
  for (int64_t r = 0; r < x.rows; ++r) {
    for (int64_t h = 0; h < num_heads; ++h) {
      for (int64_t i = 0; i < half; ++i) {
        const double angle =
            position[r] * std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(head_dim));
        const int64_t a = h * head_dim + i, b = a + half;
        y(r, a) = x(r, a) * std::cos(angle) - x(r, b) * std::sin(angle);
        y(r, b) = x(r, b) * std::cos(angle) + x(r, a) * std::sin(angle);
      }
    }
  }
  return y;
}

namespace {

int64_t bucket_of(const AttentionArgs& a, int64_t distance) { return a.bucket[distance + a.bucket_zero]; }

// Calls f(query row, first key row, number of keys, head, probabilities, dropout factors) for every softmax.
template <class F>
void each_softmax(const AttentionArgs& a, const Mat& q, const Mat& k, F f) {
  std::vector<double> p, factors;
  for (int64_t s = 0; s < a.q_rows.num_sequences; ++s) {
    const int64_t k0 = a.first_key(s), n = a.num_keys(s);
    for (int64_t i = a.q_rows.cu_seqlens[s]; i < a.q_rows.cu_seqlens[s + 1]; ++i) {
      for (int64_t h = 0; h < a.num_heads; ++h) {
        p.assign(static_cast<size_t>(n), 0);
        factors.assign(static_cast<size_t>(n), 1);
        const int64_t position = a.q_rows.position[i];
        double sum = 0;
        for (int64_t j = 0; j < n; ++j) {
          if (a.causal && j > position) continue;
          if (a.window >= 0 && std::abs(j - position) > a.window) continue;
          double score = 0;
          for (int64_t c = h * a.head_dim; c < (h + 1) * a.head_dim; ++c) score += q(i, c) * k(k0 + j, c);
          score *= a.scale;
          if (a.bias) score += double{a.bias[bucket_of(a, j - position) * a.num_heads + h]};
          p[static_cast<size_t>(j)] = std::exp(score);
          sum += p[static_cast<size_t>(j)];
        }
        for (double& x : p) x /= sum;
        for (int64_t j = 0; a.dropout.p > 0 && j < n; ++j) {
          factors[static_cast<size_t>(j)] =
              dropout_factor(a.dropout, a.q_rows.example[s], static_cast<int32_t>(position),
                             static_cast<uint32_t>(h) + 1, j);
        }
        f(i, k0, n, h, p, factors, std::log(sum));
      }
    }
  }
}

}  // namespace

AttentionOut attention(const AttentionArgs& a, const Mat& q, const Mat& k, const Mat& v) {
  AttentionOut out{Mat(q.rows, q.cols), Mat(q.rows, a.num_heads)};
  each_softmax(a, q, k,
               [&](int64_t i, int64_t k0, int64_t n, int64_t h, const auto& p, const auto& f, double lse) {
                 out.lse(i, h) = lse;
                 for (int64_t j = 0; j < n; ++j) {
                   const double weight = p[static_cast<size_t>(j)] * f[static_cast<size_t>(j)];
                   for (int64_t c = h * a.head_dim; c < (h + 1) * a.head_dim; ++c)
                     out.out(i, c) += weight * v(k0 + j, c);
                 }
               });
  return out;
}

AttentionGrads attention_backward(const AttentionArgs& a, const Mat& q, const Mat& k, const Mat& v,
                                  const Mat& dout) {
  AttentionGrads g{Mat(q.rows, q.cols), Mat(k.rows, k.cols), Mat(v.rows, v.cols),
                   Mat(a.num_buckets, a.num_heads)};
  std::vector<double> dp;
  each_softmax(a, q, k,
               [&](int64_t i, int64_t k0, int64_t n, int64_t h, const auto& p, const auto& f, double) {
                 dp.assign(static_cast<size_t>(n), 0);
                 double dot = 0;
                 for (int64_t j = 0; j < n; ++j) {
                   const size_t sj = static_cast<size_t>(j);
                   for (int64_t c = h * a.head_dim; c < (h + 1) * a.head_dim; ++c) {
                     dp[sj] += dout(i, c) * v(k0 + j, c) * f[sj];
                     g.dv(k0 + j, c) += p[sj] * f[sj] * dout(i, c);
                   }
                   dot += p[sj] * dp[sj];
                 }
                 for (int64_t j = 0; j < n; ++j) {
                   const size_t sj = static_cast<size_t>(j);
                   const double dscore = p[sj] * (dp[sj] - dot), ds = dscore * a.scale;
                   if (a.bias) g.dbias(bucket_of(a, j - a.q_rows.position[i]), h) += dscore;
                   for (int64_t c = h * a.head_dim; c < (h + 1) * a.head_dim; ++c) {
                     g.dq(i, c) += ds * k(k0 + j, c);
                     g.dk(k0 + j, c) += ds * q(i, c);
                   }
                 }
               });
  return g;
}

LossOut cross_entropy(const Mat& logits, const std::vector<int32_t>& labels, double denominator,
                      double label_smoothing) {
  LossOut out{0, Mat(logits.rows, logits.cols)};
  for (int64_t r = 0; r < logits.rows; ++r) {
    const int32_t label = labels[static_cast<size_t>(r)];
    if (label < 0) continue;
    double max = logits(r, 0), sum = 0;
    for (int64_t c = 0; c < logits.cols; ++c) max = std::max(max, logits(r, c));
    for (int64_t c = 0; c < logits.cols; ++c) sum += std::exp(logits(r, c) - max);
    for (int64_t c = 0; c < logits.cols; ++c) {
      const double target =
          label_smoothing / static_cast<double>(logits.cols) + (c == label ? 1 - label_smoothing : 0);
      out.loss += target * (max + std::log(sum) - logits(r, c)) / denominator;
      out.dlogits(r, c) = (std::exp(logits(r, c) - max) / sum - target) / denominator;
    }
  }
  return out;
}

namespace {
std::vector<double> log_softmax(const Mat& x, int64_t r, double temperature) {
  double max = x(r, 0), sum = 0;
  for (int64_t c = 0; c < x.cols; ++c) max = std::max(max, x(r, c));
  for (int64_t c = 0; c < x.cols; ++c) sum += std::exp((x(r, c) - max) / temperature);
  std::vector<double> out;
  for (int64_t c = 0; c < x.cols; ++c) out.push_back((x(r, c) - max) / temperature - std::log(sum));
  return out;
}
}  // namespace

KlOut kl_divergence(const Mat& logits, const Mat& target, double temperature, double denominator) {
  KlOut out{0, Mat(logits.rows, logits.cols), Mat(logits.rows, logits.cols)};
  for (int64_t r = 0; r < logits.rows; ++r) {
    const std::vector<double> q = log_softmax(logits, r, temperature),
                              p = log_softmax(target, r, temperature);
    double divergence = 0;
    for (size_t c = 0; c < p.size(); ++c) divergence += std::exp(p[c]) * (p[c] - q[c]);
    out.loss += divergence / denominator;
    for (size_t c = 0; c < p.size(); ++c) {
      const auto at = static_cast<int64_t>(c);
      out.dlogits(r, at) = (std::exp(q[c]) - std::exp(p[c])) / temperature / denominator;
      out.dtarget(r, at) = std::exp(p[c]) * (p[c] - q[c] - divergence) / temperature / denominator;
    }
  }
  return out;
}

namespace {
// x x^T / sqrt(d) of rows [begin, begin + n) and a head's d columns.
Mat products_of_rows(const Mat& x, int64_t begin, int64_t n, int64_t first, int64_t d) {
  Mat out(n, n);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      for (int64_t c = 0; c < d; ++c) out(i, j) += x(begin + i, first + c) * x(begin + j, first + c);
      out(i, j) /= std::sqrt(static_cast<double>(d));
    }
  }
  return out;
}
}  // namespace

LossOut relation_divergence(const Mat& student, const Mat& teacher, int64_t heads,
                            const std::vector<int32_t>& cu_seqlens, double denominator) {
  LossOut out{0, Mat(student.rows, student.cols)};
  const int64_t ds = student.cols / heads, dt = teacher.cols / heads;
  for (size_t s = 0; s + 1 < cu_seqlens.size(); ++s) {
    const int64_t begin = cu_seqlens[s], n = cu_seqlens[s + 1] - begin;
    for (int64_t h = 0; h < heads; ++h) {
      const KlOut kl = kl_divergence(products_of_rows(student, begin, n, h * ds, ds),
                                     products_of_rows(teacher, begin, n, h * dt, dt), 1,
                                     denominator * static_cast<double>(n));
      out.loss += kl.loss;
      for (int64_t i = 0; i < n; ++i)
        for (int64_t j = 0; j < n; ++j)
          for (int64_t c = 0; c < ds; ++c)
            out.dlogits(begin + i, h * ds + c) += (kl.dlogits(i, j) + kl.dlogits(j, i)) *
                                                  student(begin + j, h * ds + c) /
                                                  std::sqrt(static_cast<double>(ds));
    }
  }
  return out;
}

LossOut binary_cross_entropy(const Mat& logits, const Mat& targets, double denominator) {
  LossOut out{0, Mat(logits.rows, logits.cols)};
  for (size_t i = 0; i < logits.v.size(); ++i) {
    const double p = logistic(logits.v[i]), y = targets.v[i];
    // log(1 - p) as log(sigmoid(-x)): both ends keep their digits
    out.loss -= (y * std::log(p) + (1 - y) * std::log(logistic(-logits.v[i]))) / denominator;
    out.dlogits.v[i] = (p - y) / denominator;
  }
  return out;
}

LossOut squared_error(const Mat& logits, const Mat& targets, double denominator) {
  LossOut out{0, Mat(logits.rows, logits.cols)};
  for (size_t i = 0; i < logits.v.size(); ++i) {
    const double d = logits.v[i] - targets.v[i];
    out.loss += d * d / denominator;
    out.dlogits.v[i] = 2 * d / denominator;
  }
  return out;
}

}  // namespace graft::engine::twin
