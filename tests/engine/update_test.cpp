// AdamW and the sum of squares against double formulas and against torch.optim.AdamW's order of operations.
#include <chrono>
#include <cmath>

#include "base/denormals.h"

#include "engine/plain_twins.h"

namespace graft::engine::test {
namespace {

struct State {
  std::vector<float> w, m, v;
  explicit State(int64_t n)
      : w(random_matrix(1, n, "w").v), m(static_cast<size_t>(n)), v(static_cast<size_t>(n)) {}
};

constexpr double kBeta1 = 0.9, kBeta2 = 0.999, kEps = 1e-8, kDecay = 0.01;

UpdateArgs args_of(State& s, const float* g, int step, double lr = 5e-5) {
  UpdateArgs a;
  a.w = s.w.data();
  a.m = s.m.data();
  a.v = s.v.data();
  a.g = g;
  a.n = static_cast<int64_t>(s.w.size());
  a.lr = lr;
  a.beta1 = kBeta1;
  a.beta2 = kBeta2;
  a.eps = kEps;
  a.weight_decay = kDecay;
  a.correction1 = 1 - std::pow(kBeta1, step);
  a.correction2 = 1 - std::pow(kBeta2, step);
  return a;
}

TEST(AdamW, EqualsTheFormulaInDouble) {
  const int64_t n = 40001;
  for (const double lr : {5e-5, 0.1}) {
    State s(n);
    std::vector<double> w(s.w.begin(), s.w.end()), m(w.size()), v(w.size()), largest(w.size());
    for (int step = 1; step <= 5; ++step) {
      Matrix g = random_matrix(1, n, "g" + std::to_string(step));
      UpdateArgs a = args_of(s, g.v.data(), step, lr);
      a.grad_scale = 0.25f;
      cpu_kernels().update(a);
      for (size_t i = 0; i < w.size(); ++i) {
        const double x = double{g.v[i]} * 0.25;
        largest[i] = std::max(largest[i], std::fabs(w[i]));
        w[i] *= 1 - lr * kDecay;
        m[i] = kBeta1 * m[i] + (1 - kBeta1) * x;
        v[i] = kBeta2 * v[i] + (1 - kBeta2) * x * x;
        w[i] -= lr * (m[i] / (1 - std::pow(kBeta1, step))) /
                (std::sqrt(v[i] / (1 - std::pow(kBeta2, step))) + kEps);
        largest[i] = std::max(largest[i], std::fabs(w[i]));
      }
    }
    for (size_t i = 0; i < w.size(); ++i) {
      // The moments' sums round to half an ulp of numbers below one; a weight rounds three times a step (the
      // decay factor, its product, the sum), and its update is known to 1e-6 of itself.
      ASSERT_NEAR(s.m[i], m[i], 2e-7) << i;
      ASSERT_NEAR(s.v[i], v[i], 1e-6 * v[i]) << i;
      ASSERT_NEAR(s.w[i], w[i], 5 * 3 * 6e-8 * largest[i] + 5 * 1e-6 * lr) << i;
    }
  }
}

// torch.optim.AdamW (1.13, single tensor): p.mul_(1 - lr*wd); m.mul_(b1).add_(g, alpha=1-b1);
// v.mul_(b2).addcmul_(g, g, value=1-b2); p.addcdiv_(m, v.sqrt()/sqrt(c2) + eps, value=-lr/c1).
TEST(AdamW, FollowsTorchToRounding) {
  const int64_t n = 5000;
  const double lr = 5e-5;
  State s(n);
  State t = s;
  int64_t differ = 0;
  for (int step = 1; step <= 5; ++step) {
    Matrix g = random_matrix(1, n, "g" + std::to_string(step));
    cpu_kernels().update(args_of(s, g.v.data(), step, lr));
    const float root = static_cast<float>(std::sqrt(1 - std::pow(kBeta2, step)));
    const float value = static_cast<float>(-lr / (1 - std::pow(kBeta1, step)));
    for (size_t i = 0; i < t.w.size(); ++i) {
      t.w[i] *= static_cast<float>(1 - lr * kDecay);
      t.m[i] = t.m[i] * static_cast<float>(kBeta1) + static_cast<float>(1 - kBeta1) * g.v[i];
      t.v[i] = t.v[i] * static_cast<float>(kBeta2) + static_cast<float>(1 - kBeta2) * g.v[i] * g.v[i];
      t.w[i] += value * t.m[i] / (std::sqrt(t.v[i]) / root + static_cast<float>(kEps));
    }
  }
  for (size_t i = 0; i < t.w.size(); ++i) {
    differ += t.w[i] != s.w[i];
    // The same operations, some of them fused here: at each step the product and the sum may round the other
    // way.
    ASSERT_NEAR(s.w[i], t.w[i], 5 * 2 * 6e-8 * std::fabs(t.w[i]) + 1e-9) << i;
    ASSERT_NEAR(s.m[i], t.m[i], 2e-7) << i;
    ASSERT_NEAR(s.v[i], t.v[i], 5e-7 * t.v[i]) << i;
  }
  EXPECT_LT(differ, n / 3);
}

TEST(AdamW, NoGradientAndNoDecayIsExactlyNoUpdate) {
  State s(1000);
  const std::vector<float> before = s.w;
  UpdateArgs a = args_of(s, nullptr, 3);
  a.weight_decay = 0;
  cpu_kernels().update(a);
  EXPECT_EQ(s.w, before);
  EXPECT_EQ(s.m, std::vector<float>(1000));
}

TEST(AdamW, NullGradientEqualsZeroGradient) {
  State a(777), b(777);
  Matrix g = random_matrix(1, 777, "g"), zero(1, 777);
  for (State* s : {&a, &b}) cpu_kernels().update(args_of(*s, g.v.data(), 1));
  cpu_kernels().update(args_of(a, nullptr, 2));
  cpu_kernels().update(args_of(b, zero.v.data(), 2));
  EXPECT_EQ(a.w, b.w);
  EXPECT_EQ(a.m, b.m);
  EXPECT_EQ(a.v, b.v);
}

// Any cut of the flat memory gives the same bits: a segment may begin anywhere.
TEST(AdamW, BitsDoNotDependOnTheCut) {
  State a(1001), b(1001);
  Matrix g = random_matrix(1, 1001, "g");
  cpu_kernels().update(args_of(a, g.v.data(), 1));
  for (const auto& [first, last] : {std::pair{0, 7}, std::pair{7, 500}, std::pair{500, 1001}}) {
    UpdateArgs part = args_of(b, g.v.data() + first, 1);
    part.w += first;
    part.m += first;
    part.v += first;
    part.n = last - first;
    cpu_kernels().update(part);
  }
  EXPECT_EQ(a.w, b.w);
  EXPECT_EQ(a.m, b.m);
  EXPECT_EQ(a.v, b.v);
}

// Moments that decayed into denormals must not make the replay of missed steps slow (0.9 x rounds back to x
// there, so they would stay for ever).
TEST(AdamW, DenormalMomentsAreNotSlow) {
  const auto seconds = [](float moment) {
    State s(1 << 14);
    std::fill(s.m.begin(), s.m.end(), moment);
    std::fill(s.v.begin(), s.v.end(), moment);
    const auto start = std::chrono::steady_clock::now();
    for (int step = 1; step <= 400; ++step) cpu_kernels().update(args_of(s, nullptr, step));
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
    return std::pair{spent.count(), s.m.front()};
  };
  double normal = 1e9, flushed = 1e9;
  for (int round = 0; round < 5; ++round) {
    const FlushDenormals flush;
    normal = std::min(normal, seconds(1e-3f).first);
    const auto [spent, left] = seconds(1e-44f);
    flushed = std::min(flushed, spent);
    EXPECT_EQ(left, 0);
  }
  EXPECT_LT(flushed, 3 * normal);
  RecordProperty("denormal_without_flush_over_normal", std::to_string(seconds(1e-44f).first / normal));
  RecordProperty("denormal_with_flush_over_normal", std::to_string(flushed / normal));
}

TEST(SumOfSquares, EqualsDouble) {
  for (const int64_t n : {0, 1, 7, 4096, 4097, 100003}) {
    const Matrix x = random_matrix(1, n, "x");
    double sum = 0;
    for (const float v : x.v) sum += double{v} * double{v};
    EXPECT_NEAR(cpu_kernels().sum_of_squares(x.v.data(), n), sum, 1e-6 * sum) << n;
  }
}

}  // namespace
}  // namespace graft::engine::test
