// The chunked loss against cross_entropy(linear(x)), finite differences, and its bits.
#include <cmath>

#include "base/threads.h"
#include "engine/basic_ops.h"
#include "engine/plain_twins.h"
#include "support/shared.h"

namespace graft::engine::test {
namespace {

struct Case {
  ParameterStore store;
  Linear layer;
  std::vector<int32_t> labels;
  Matrix x;

  Case(int64_t rows, int64_t classes, int64_t width, bool bias) {
    layer.weight = declare(store, "w", {classes, width});
    if (bias) layer.bias = declare(store, "b", {classes});
    fill_store(store, 1 / std::sqrt(static_cast<float>(width)));
    labels = random_ids(rows, classes, "labels");
    for (size_t i = 0; i < labels.size(); i += 3) labels[i] = -100;
    x = random_matrix(rows, width, "x");
  }
  Forward chunked(float smoothing = 0, int64_t* right = nullptr, double* total = nullptr) {
    return [=, this](Tape& t, const std::vector<Var>& in) {
      return linear_cross_entropy(t, in[0], layer, labels.data(), 7,
                                  {.total = total, .label_smoothing = smoothing, .right = right});
    };
  }
  Forward stored(float smoothing = 0, double* total = nullptr) {
    return [=, this](Tape& t, const std::vector<Var>& in) {
      return cross_entropy(t, linear(t, in[0], layer), labels.data(), 7, total,
                           {.label_smoothing = smoothing});
    };
  }
};

TapeOptions in_precision(bool bf16) {
  TapeOptions options = training();
  options.bf16 = bf16;
  return options;
}

// The loss has the same bits, and so has the gradient of x; that of the weights is summed in other parts.
TEST(LinearCrossEntropy, EqualsTheStoredLogits) {
  for (const bool bf16 : {false, true}) {
    for (const int64_t rows : {1, 5, 512, 513, 1100}) {
      for (const bool bias : {false, true}) {
        for (const float smoothing : {0.0f, 0.1f}) {
          Case c(rows, 300, 40, bias);
          const Pass got = run_pass(c.store, {c.x}, c.chunked(smoothing), in_precision(bf16)),
                     want = run_pass(c.store, {c.x}, c.stored(smoothing), in_precision(bf16));
          const std::string what =
              fmt::format("bf16 {} rows {} bias {} smoothing {}", bf16, rows, bias, smoothing);
          expect_same_bits(got.out, want.out, what);
          expect_same_bits(got.input_grads[0], want.input_grads[0], what);
          ASSERT_EQ(got.parameter_grads.size(), want.parameter_grads.size()) << what;
          for (const auto& [name, grad] : want.parameter_grads) {
            const Matrix& mine = got.parameter_grads.at(name);
            double norm = 0, difference = 0;
            for (size_t i = 0; i < grad.v.size(); ++i) {
              norm += std::pow(double{grad.v[i]}, 2);
              difference = std::max(difference, std::fabs(double{grad.v[i]} - mine.v[i]));
            }
            EXPECT_LE(difference, 1e-6 * std::sqrt(norm)) << what << " " << name;
          }
        }
      }
    }
  }
}

TEST(LinearCrossEntropy, FiniteDifferences) {
  for (const float smoothing : {0.0f, 0.3f}) {
    Case c(7, 5, 4, true);
    expect_gradients(c.store, {c.x}, c.chunked(smoothing));
  }
}

TEST(LinearCrossEntropy, ThreadsGiveTheSameBits) {
  for (const bool bf16 : {false, true}) {
    Case c(700, 1000, 64, true);
    expect_thread_free([&] { return run_pass(c.store, {c.x}, c.chunked(), in_precision(bf16)); },
                       fmt::format("bf16 {}", bf16));
  }
}

TEST(LinearCrossEntropy, CountsRightRowsAndAddsTerms) {
  Case c(600, 50, 16, false);
  int64_t right = 0, expected = 0;
  double total = 3, stored = 3;
  run_forward(c.store, {c.x}, c.chunked(0, &right, &total));
  run_forward(c.store, {c.x}, c.stored(0, &stored));
  const Matrix logits = run_forward(
      c.store, {c.x}, [&](Tape& t, const std::vector<Var>& in) { return linear(t, in[0], c.layer); });
  for (int64_t r = 0; r < 600; ++r) {
    const int32_t label = c.labels[static_cast<size_t>(r)];
    if (label < 0) continue;
    const float* x = logits.v.data() + r * 50;
    expected += *std::max_element(x, x + 50) == x[label];
  }
  EXPECT_GT(expected, 0);
  EXPECT_EQ(right, expected);
  EXPECT_EQ(total, stored);
}

TEST(LinearCrossEntropy, ANotANumberReachesTheLossAndTheGradients) {
  Case c(520, 30, 8, true);
  c.labels[515] = 3;
  c.x.at(515, 2) = std::nanf("");
  const Pass pass = run_pass(c.store, {c.x}, c.chunked());
  EXPECT_TRUE(std::isnan(pass.out.at(0, 0)));
  EXPECT_TRUE(std::isnan(pass.input_grads[0].at(515, 0)));
  EXPECT_FALSE(std::isnan(pass.input_grads[0].at(514, 0)));
  EXPECT_TRUE(std::isnan(pass.parameter_grads.at("w").at(0, 2)));
}

TEST(LinearCrossEntropy, AFrozenWeightGetsNoGradient) {
  Case c(9, 6, 4, true);
  c.layer.weight->trainable = false;
  const Pass pass = run_pass(c.store, {c.x}, c.chunked());
  EXPECT_EQ(pass.parameter_grads.count("w"), 0u);
  EXPECT_EQ(pass.parameter_grads.count("b"), 1u);
}

TEST(LinearCrossEntropy, ALabelBeyondTheClassesIsTold) {
  Case c(3, 6, 4, false);
  c.labels[1] = 6;
  EXPECT_THAT(graft::test::error_of([&] { run_forward(c.store, {c.x}, c.chunked()); }),
              testing::HasSubstr("label 6 of row 1 for 6 classes"));
}

// The plan covers both passes, and the memory for logits does not grow with the rows.
TEST(LinearCrossEntropy, ThePlanPredictsThePeakWhichDoesNotGrowWithTheRows) {
  const auto peak = [](const Kernels& kernels, int64_t rows, bool bf16) {
    Case c(rows, 4000, 16, false);
    Arena arena;
    Tape t(kernels, arena, c.store, in_precision(bf16));
    Tensor x = t.push(rows, 16);
    if (!t.planning()) std::fill_n(x.f32(), x.size(), 0.5f);
    t.backward(c.chunked()(t, {t.result(x, true)}));
    return arena.peaks();
  };
  for (const bool bf16 : {false, true}) {
    EXPECT_EQ(peak(plan_kernels(), 1100, bf16).total(), peak(cpu_kernels(), 1100, bf16).total()) << bf16;
    // The rows of x have a gradient there, and a bf16 copy: no layer below is trained.
    EXPECT_LT(peak(plan_kernels(), 10000, bf16).heap,
              peak(plan_kernels(), 1000, bf16).heap + 10000 * 16 * (bf16 ? 6 : 4) + 4096)
        << bf16;
  }
}

}  // namespace
}  // namespace graft::engine::test
