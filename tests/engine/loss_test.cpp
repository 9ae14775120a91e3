// Losses against their plain twins and finite differences.
#include <cmath>

#include "engine/basic_ops.h"
#include "engine/plain_twins.h"
#include "support/shared.h"

namespace graft::engine::test {
namespace {

void compare(const Pass& got, const twin::LossOut& want, double tolerance, const std::string& what) {
  const Matrix one = random_matrix(1, 1, "weights");
  twin::Mat dlogits = want.dlogits;
  for (double& g : dlogits.v) g *= one.at(0, 0);
  EXPECT_NEAR(got.out.at(0, 0), want.loss, tolerance * std::max(1.0, want.loss)) << what;
  twin::expect_close(got.input_grads[0], dlogits, tolerance, what + " gradient");
}

TEST(CrossEntropy, EqualsTwinWithIgnoredLabels) {
  ParameterStore store;
  fill_store(store);
  for (const int64_t V : {2, 3, 17, 1000, 30522}) {
    const int64_t R = V > 10000 ? 7 : 61;
    const Matrix logits = random_matrix(R, V, "logits", 3);
    std::vector<int32_t> labels = random_ids(R, V, "labels");
    for (size_t i = 0; i < labels.size(); i += 3) labels[i] = -100;
    const double denominator = 2.5;
    compare(run_pass(store, {logits},
                     [&](Tape& t, const std::vector<Var>& in) {
                       return cross_entropy(t, in[0], labels.data(), denominator);
                     }),
            twin::cross_entropy(logits, labels, denominator), 1e-6, fmt::format("V {}", V));
  }
}

// Weights of classes as torch's cross_entropy without its mean; the focal loss of Lin et al. 2017. Both in
// double, their gradients by the chain rule.
TEST(CrossEntropy, ClassWeightsAndTheFocalLossEqualTheirFormulas) {
  ParameterStore store;
  fill_store(store);
  const Matrix logits = random_matrix(9, 4, "logits", 3);
  std::vector<int32_t> labels = random_ids(9, 4, "labels");
  labels[2] = -100;
  const std::vector<float> weights = {0.5f, 2, 0, 3};
  const auto factors = [&](double nll, int32_t label, bool weighted, double gamma) {
    const double p = std::exp(-nll),
                 w = weighted ? static_cast<double>(weights[static_cast<size_t>(label)]) : 1.0;
    // d/dp of -(1 - p)^gamma log p, times -p: that of the cross entropy is 1.
    const double slope =
        std::pow(1 - p, gamma) + (gamma > 0 ? gamma * p * std::pow(1 - p, gamma - 1) * nll : 0);
    return std::pair{w * std::pow(1 - p, gamma), w * slope};
  };
  for (const bool weighted : {false, true}) {
    for (const double gamma : {0.0, 0.5, 2.0}) {
      twin::LossOut want{0, twin::Mat(9, 4)};
      for (int64_t r = 0; r < 9; ++r) {
        if (labels[static_cast<size_t>(r)] < 0) continue;
        std::vector<int32_t> one(9, -100);
        one[static_cast<size_t>(r)] = labels[static_cast<size_t>(r)];
        const twin::LossOut row = twin::cross_entropy(logits, one, 1);
        const auto [term, slope] = factors(row.loss, labels[static_cast<size_t>(r)], weighted, gamma);
        want.loss += term * row.loss / 5;
        for (int64_t c = 0; c < 4; ++c) want.dlogits(r, c) = slope * row.dlogits(r, c) / 5;
      }
      LabelLoss options;
      options.class_weights = weighted ? weights.data() : nullptr;
      options.focal_gamma = static_cast<float>(gamma);
      compare(run_pass(store, {logits},
                       [&](Tape& t, const std::vector<Var>& in) {
                         return cross_entropy(t, in[0], labels.data(), 5, nullptr, options);
                       }),
              want, 1e-6, fmt::format("weighted {} gamma {}", weighted, gamma));
    }
  }
}

// A label that is certain: 1 - p is 0, and its powers are too.
TEST(CrossEntropy, TheFocalLossOfACertainLabelIsZero) {
  ParameterStore store;
  fill_store(store);
  Matrix logits(1, 2);
  logits.at(0, 0) = 200;
  const std::vector<int32_t> labels = {0};
  const Pass pass = run_pass(store, {logits}, [&](Tape& t, const std::vector<Var>& in) {
    return cross_entropy(t, in[0], labels.data(), 1, nullptr, {.focal_gamma = 0.5f});
  });
  EXPECT_EQ(pass.out.at(0, 0), 0);
  expect_same_bits(pass.input_grads[0], Matrix(1, 2), "zero");
}

TEST(CrossEntropy, HoldsForHugeLogits) {
  ParameterStore store;
  fill_store(store);
  Matrix logits = random_matrix(4, 5, "logits", 300);
  const std::vector<int32_t> labels = {0, 1, 2, 3};
  compare(run_pass(
              store, {logits},
              [&](Tape& t, const std::vector<Var>& in) { return cross_entropy(t, in[0], labels.data(), 4); }),
          twin::cross_entropy(logits, labels, 4), 1e-6, "huge");
}

TEST(CrossEntropy, ALabelBeyondTheClassesIsTold) {
  ParameterStore store;
  fill_store(store);
  const std::vector<int32_t> labels = {0, 3};
  EXPECT_THAT(graft::test::error_of([&] {
                run_forward(store, {Matrix(2, 3)}, [&](Tape& t, const auto& in) {
                  return cross_entropy(t, in[0], labels.data(), 2);
                });
              }),
              testing::HasSubstr("label 3 of row 1 for 3 classes"));
}

TEST(CrossEntropy, AllIgnoredGivesZeroGradients) {
  ParameterStore store;
  fill_store(store);
  const std::vector<int32_t> labels = {-100, -1};
  const Pass pass = run_pass(store, {random_matrix(2, 3, "x")}, [&](Tape& t, const std::vector<Var>& in) {
    return cross_entropy(t, in[0], labels.data(), 1);
  });
  EXPECT_EQ(pass.out.at(0, 0), 0);
  expect_same_bits(pass.input_grads[0], Matrix(2, 3), "zero");
}

TEST(ElementLoss, EqualsTwin) {
  ParameterStore store;
  fill_store(store);
  const Matrix logits = random_matrix(9, 7, "logits", 4);
  Matrix targets(9, 7);
  for (size_t i = 0; i < targets.v.size(); ++i) targets.v[i] = i % 5 == 0 ? 0.25f : static_cast<float>(i % 2);
  compare(run_pass(store, {logits},
                   [&](Tape& t, const std::vector<Var>& in) {
                     return binary_cross_entropy(t, in[0], targets.tensor(), 63);
                   }),
          twin::binary_cross_entropy(logits, targets, 63), 1e-6, "bce");
  compare(run_pass(store, {logits},
                   [&](Tape& t, const std::vector<Var>& in) {
                     return squared_error(t, in[0], targets.tensor(), 9);
                   }),
          twin::squared_error(logits, targets, 9), 1e-6, "mse");
}

TEST(ElementLoss, BinaryCrossEntropyHoldsForHugeLogits) {
  ParameterStore store;
  fill_store(store);
  Matrix logits(1, 4), targets(1, 4);
  logits.v = {200, -200, 200, -200};
  targets.v = {1, 1, 0, 0};
  const Pass pass = run_pass(store, {logits}, [&](Tape& t, const std::vector<Var>& in) {
    return binary_cross_entropy(t, in[0], targets.tensor(), 1);
  });
  EXPECT_FLOAT_EQ(pass.out.at(0, 0), 400);
}

TEST(Losses, FiniteDifferences) {
  ParameterStore store;
  fill_store(store);
  const std::vector<int32_t> labels = {2, -100, 0, 3};
  Matrix targets = random_matrix(4, 5, "targets");
  for (float& t : targets.v) t = t > 0;
  const std::vector<Matrix> logits = {random_matrix(4, 5, "logits")};
  expect_gradients(store, logits, [&](Tape& t, const std::vector<Var>& in) {
    return cross_entropy(t, in[0], labels.data(), 3);
  });
  expect_gradients(store, logits, [&](Tape& t, const std::vector<Var>& in) {
    return binary_cross_entropy(t, in[0], targets.tensor(), 20);
  });
  expect_gradients(store, logits, [&](Tape& t, const std::vector<Var>& in) {
    return squared_error(t, in[0], targets.tensor(), 20);
  });
}

// Logits of one column in segments of these lengths, and a label each; negative: none.
struct Segments {
  std::vector<int32_t> begin, labels;
  Matrix logits;
};

Segments segments_of(const std::vector<int32_t>& lengths, std::vector<int32_t> labels, float scale) {
  Segments out{{0}, std::move(labels), {}};
  for (const int32_t n : lengths) out.begin.push_back(out.begin.back() + n);
  out.logits = random_matrix(out.begin.back(), 1, "logits", scale);
  return out;
}

Forward segment_loss(const Segments& s, double denominator, double* total = nullptr) {
  return [&s, denominator, total](Tape& t, const std::vector<Var>& in) {
    return segment_cross_entropy(t, in[0], s.begin.data(), s.labels.data(),
                                 static_cast<int64_t>(s.labels.size()), denominator, total);
  };
}

// The twin: the cross entropy of each segment, written as a row.
TEST(SegmentCrossEntropy, EqualsTwin) {
  ParameterStore store;
  fill_store(store);
  for (const float scale : {1.0f, 300.0f}) {
    const Segments s = segments_of({3, 1, 200, 2, 7}, {2, 0, 131, -1, 0}, scale);
    twin::LossOut want{0, twin::Mat(s.logits.rows, 1)};
    for (size_t i = 0; i < s.labels.size(); ++i) {
      const int64_t n = s.begin[i + 1] - s.begin[i];
      Matrix row(1, n);
      for (int64_t c = 0; c < n; ++c) row.at(0, c) = s.logits.at(s.begin[i] + c, 0);
      const twin::LossOut one = twin::cross_entropy(row, {s.labels[i]}, 2.5);
      want.loss += one.loss;
      for (int64_t c = 0; c < n; ++c) want.dlogits(s.begin[i] + c, 0) = one.dlogits(0, c);
    }
    double total = 0;
    compare(run_pass(store, {s.logits}, segment_loss(s, 2.5, &total)), want, 1e-6, fmt::format("{}", scale));
    EXPECT_NEAR(total, 2.5 * want.loss, 1e-5 * total);
  }
}

TEST(SegmentCrossEntropy, FiniteDifferences) {
  ParameterStore store;
  fill_store(store);
  const Segments s = segments_of({3, 1, 5, 2}, {1, 0, 4, -100}, 1);
  expect_gradients(store, {s.logits}, segment_loss(s, 3));
}

TEST(SegmentCrossEntropy, WithoutALabelIsZeroAndANaNIsSeen) {
  ParameterStore store;
  fill_store(store);
  Segments s = segments_of({3, 2}, {-1, -1}, 1);
  const Pass pass = run_pass(store, {s.logits}, segment_loss(s, 1));
  EXPECT_EQ(pass.out.at(0, 0), 0);
  for (const float g : pass.input_grads[0].v) EXPECT_EQ(g, 0);
  s.labels = {1, 0};
  s.logits.at(2, 0) = std::nanf("");
  EXPECT_TRUE(std::isnan(run_forward(store, {s.logits}, segment_loss(s, 1)).at(0, 0)));
}

TEST(SegmentCrossEntropy, ALabelBeyondItsSegmentIsTold) {
  ParameterStore store;
  fill_store(store);
  const Segments s = segments_of({3, 2}, {1, 2}, 1);
  EXPECT_THAT(graft::test::error_of([&] { run_forward(store, {s.logits}, segment_loss(s, 1)); }),
              testing::HasSubstr("label 2 of segment 1, which has 2 rows"));
}

// The reference's LabelSmoother: (1 - s) of the label's term and s of the mean over all classes.
TEST(CrossEntropy, LabelSmoothingEqualsTwin) {
  ParameterStore store;
  fill_store(store);
  for (const int64_t V : {2, 3, 17, 1000}) {
    for (const float smoothing : {0.1f, 0.5f, 1.0f}) {
      const Matrix logits = random_matrix(13, V, "logits", 3);
      std::vector<int32_t> labels = random_ids(13, V, "labels");
      labels[4] = -100;
      compare(run_pass(store, {logits},
                       [&](Tape& t, const std::vector<Var>& in) {
                         return cross_entropy(t, in[0], labels.data(), 2.5, nullptr,
                                              {.label_smoothing = smoothing});
                       }),
              twin::cross_entropy(logits, labels, 2.5, double{smoothing}), 1e-6,
              fmt::format("V {} smoothing {}", V, smoothing));
    }
  }
}

TEST(KlDivergence, EqualsTwin) {
  ParameterStore store;
  fill_store(store);
  for (const int64_t V : {2, 3, 17, 1000}) {
    for (const float temperature : {1.0f, 2.5f}) {
      const Matrix logits = random_matrix(9, V, "logits", 3), target = random_matrix(9, V, "target", 3);
      const Pass got = run_pass(store, {logits, target}, [&](Tape& t, const std::vector<Var>& in) {
        return kl_divergence(t, in[0], in[1], temperature, 4);
      });
      const twin::KlOut want = twin::kl_divergence(logits, target, double{temperature}, 4);
      const std::string what = fmt::format("V {} temperature {}", V, temperature);
      compare(got, {want.loss, want.dlogits}, 2e-6, what);
      twin::Mat dtarget = want.dtarget;
      for (double& g : dtarget.v) g *= random_matrix(1, 1, "weights").at(0, 0);
      // The log of a ratio of probabilities: its rounding error is that of numbers of its size.
      twin::expect_close(got.input_grads[1], dtarget, 2e-6, what + " target", 10);
    }
  }
}

TEST(KlDivergence, AConstantTargetGetsNoGradientAndEqualLogitsGiveZero) {
  ParameterStore store;
  fill_store(store);
  Matrix logits = random_matrix(5, 7, "logits");
  const Pass got = run_pass(store, {logits}, [&](Tape& t, const std::vector<Var>& in) {
    return kl_divergence(t, in[0], t.constant(logits.tensor()), 2, 1);
  });
  EXPECT_EQ(got.out.at(0, 0), 0);
  for (const float g : got.input_grads[0].v) EXPECT_EQ(g, 0);
}

TEST(KlDivergence, MisuseIsTold) {
  ParameterStore store;
  fill_store(store);
  const auto told = [&](int64_t cols, float temperature) {
    return graft::test::error_of([&] {
      run_forward(store, {Matrix(2, 3), Matrix(2, cols)},
                  [&](Tape& t, const auto& in) { return kl_divergence(t, in[0], in[1], temperature, 1); });
    });
  };
  EXPECT_THAT(told(4, 1), testing::HasSubstr("logits [2, 3] against [2, 4]"));
  EXPECT_THAT(told(3, 0), testing::HasSubstr("must be positive"));
}

TEST(RelationDivergence, EqualsTwin) {
  ParameterStore store;
  fill_store(store);
  const Batch batch({1, 2, 17, 70, 5});
  const std::vector<int32_t> begin = {0, 1, 3, 20, 90, 95};
  struct {
    int64_t heads, student, teacher;  // numbers of a head
  } const cases[] = {{1, 7, 7}, {3, 5, 16}, {4, 32, 12}, {2, 64, 64}};
  for (const auto& c : cases) {
    const Matrix student = random_matrix(95, c.heads * c.student, "student", 0.4f),
                 teacher = random_matrix(95, c.heads * c.teacher, "teacher", 0.4f);
    Matrix copy = teacher;
    compare(run_pass(store, {student},
                     [&](Tape& t, const std::vector<Var>& in) {
                       return relation_divergence(t, in[0], t.constant(copy.tensor()), c.heads, batch.rows(),
                                                  2.5);
                     }),
            // Differences of probabilities, which cancel.
            twin::relation_divergence(student, teacher, c.heads, begin, 2.5), 1e-5,
            fmt::format("{} heads of {} and {}", c.heads, c.student, c.teacher));
  }
}

TEST(RelationDivergence, OfARowAloneAndOfEqualRowsIsZero) {
  ParameterStore store;
  fill_store(store);
  const Batch batch({1, 4});
  const Matrix student = random_matrix(5, 6, "student");
  Matrix teacher = student;
  for (int64_t c = 0; c < 6; ++c) teacher.at(0, c) += 1;
  const Pass got = run_pass(store, {student}, [&](Tape& t, const std::vector<Var>& in) {
    return relation_divergence(t, in[0], t.constant(teacher.tensor()), 2, batch.rows(), 1);
  });
  EXPECT_NEAR(got.out.at(0, 0), 0, 1e-6);
  for (const float g : got.input_grads[0].v) EXPECT_NEAR(g, 0, 1e-6);
}

TEST(RelationDivergence, FiniteDifferencesBesideAnotherLoss) {
  ParameterStore store;
  fill_store(store);
  const Batch batch({3, 2});
  Matrix teacher = random_matrix(5, 4, "teacher"), targets = random_matrix(5, 6, "targets");
  expect_gradients(store, {random_matrix(5, 6, "student")}, [&](Tape& t, const std::vector<Var>& in) {
    const Var relations = relation_divergence(t, in[0], t.constant(teacher.tensor()), 2, batch.rows(), 3);
    return add(t, relations, squared_error(t, in[0], targets.tensor(), 5));
  });
}

TEST(RelationDivergence, MisuseIsTold) {
  ParameterStore store;
  fill_store(store);
  const Batch batch({3, 2});
  const auto told = [&](int64_t rows, int64_t cols, int64_t heads) {
    return graft::test::error_of([&] {
      run_forward(store, {Matrix(5, 4), Matrix(rows, cols)}, [&](Tape& t, const auto& in) {
        return relation_divergence(t, in[0], in[1], heads, batch.rows(), 1);
      });
    });
  };
  EXPECT_THAT(told(4, 4, 2), testing::HasSubstr("[4, 4] for 5 rows and 2 heads"));
  EXPECT_THAT(told(5, 5, 2), testing::HasSubstr("[5, 5] for 5 rows and 2 heads"));
}

TEST(Losses, FiniteDifferencesOfSmoothingAndDivergence) {
  ParameterStore store;
  fill_store(store);
  const std::vector<int32_t> labels = {2, -100, 0, 3};
  const std::vector<Matrix> two = {random_matrix(4, 5, "logits"), random_matrix(4, 5, "target")};
  expect_gradients(store, {two[0]}, [&](Tape& t, const std::vector<Var>& in) {
    return cross_entropy(t, in[0], labels.data(), 3, nullptr, {.label_smoothing = 0.2f});
  });
  expect_gradients(store, two, [&](Tape& t, const std::vector<Var>& in) {
    return kl_divergence(t, in[0], in[1], 1.5f, 4);
  });
}

// Distillation and R-Drop: the gradients of all losses on one value add, whichever ran first.
TEST(Losses, SeveralLossesReadTheSameLogits) {
  ParameterStore store;
  fill_store(store);
  const std::vector<int32_t> labels = {2, -100, 0, 3};
  Matrix targets = random_matrix(4, 5, "targets"), teacher = random_matrix(4, 5, "teacher");
  for (float& t : targets.v) t = t > 0;
  using Loss = std::function<Var(Tape&, Var)>;
  const std::vector<Loss> losses = {
      [&](Tape& t, Var x) { return cross_entropy(t, x, labels.data(), 3); },
      [&](Tape& t, Var x) {
        return cross_entropy(t, x, labels.data(), 3, nullptr, {.label_smoothing = 0.1f});
      },
      [&](Tape& t, Var x) { return kl_divergence(t, x, t.constant(teacher.tensor()), 2, 4); },
      [&](Tape& t, Var x) { return kl_divergence(t, t.constant(teacher.tensor()), x, 2, 4); },
      [&](Tape& t, Var x) { return binary_cross_entropy(t, x, targets.tensor(), 20); },
      [&](Tape& t, Var x) { return squared_error(t, x, targets.tensor(), 20); }};
  const Matrix x = random_matrix(4, 5, "logits"), one(1, 1, 1);
  twin::Mat sum(4, 5);
  for (const Loss& loss : losses) {
    const Pass alone = run_pass(
        store, {x}, [&](Tape& t, const auto& in) { return loss(t, in[0]); }, training(), &one);
    for (size_t i = 0; i < sum.v.size(); ++i) sum.v[i] += double{alone.input_grads[0].v[i]};
  }
  for (const bool reversed : {false, true}) {
    const Pass all = run_pass(
        store, {x},
        [&](Tape& t, const auto& in) {
          Var total = nullptr;
          for (size_t i = 0; i < losses.size(); ++i) {
            Var loss = losses[reversed ? losses.size() - 1 - i : i](t, in[0]);
            total = total ? add(t, total, loss) : loss;
          }
          return total;
        },
        training(), &one);
    twin::expect_close(all.input_grads[0], sum, 1e-6, reversed ? "reversed" : "in order");
  }
}

}  // namespace
}  // namespace graft::engine::test
