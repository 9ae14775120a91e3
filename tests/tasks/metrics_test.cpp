// Metrics against numbers worked out by hand, or published in the documentation of scikit-learn and SciPy.
#include "tasks/metrics.h"

#include <cmath>

#include "base/philox.h"
#include "support/shared.h"

namespace graft::tasks {
namespace {
using testing::ElementsAre;

double value(const MetricValues& values, const std::string& name) {
  for (const auto& [key, v] : values) {
    if (key == name) return v;
  }
  return std::nan("");
}

std::vector<std::string> names(const MetricValues& values) {
  std::vector<std::string> out;
  for (const auto& [key, v] : values) out.push_back(key);
  return out;
}

MetricValues confusion(int num_labels, const std::vector<int>& labels, const std::vector<int>& predictions) {
  ConfusionMatrix m(num_labels);
  for (size_t i = 0; i < labels.size(); ++i) m.add(labels[i], predictions[i]);
  return m.values();
}

// scikit-learn's documentation of f1_score: y_true = [0, 1, 2, 0, 1, 2], y_pred = [0, 2, 1, 0, 0, 1] has f1
// [0.8, 0, 0], macro 0.26..., micro 0.33...
TEST(ConfusionMatrix, ThreeLabels) {
  const MetricValues v = confusion(3, {0, 1, 2, 0, 1, 2}, {0, 2, 1, 0, 0, 1});
  EXPECT_THAT(names(v), ElementsAre("accuracy", "f1_macro", "f1_micro"));
  EXPECT_NEAR(value(v, "accuracy"), 1.0 / 3, 1e-15);
  EXPECT_NEAR(value(v, "f1_macro"), 0.8 / 3, 1e-15);
  EXPECT_NEAR(value(v, "f1_micro"), 1.0 / 3, 1e-15);
}

// tp 3, fp 1, fn 2, tn 4: accuracy 7/10; f1 of label 1 = 6/9, of label 0 = 8/11; matthews
// (3*4 - 1*2) / sqrt(4 * 5 * 5 * 6) = 10 / sqrt(600).
TEST(ConfusionMatrix, TwoLabels) {
  const MetricValues v = confusion(2, {1, 1, 1, 1, 1, 0, 0, 0, 0, 0}, {1, 1, 1, 0, 0, 1, 0, 0, 0, 0});
  EXPECT_THAT(names(v), ElementsAre("accuracy", "f1", "f1_macro", "f1_micro", "matthews_correlation"));
  EXPECT_NEAR(value(v, "accuracy"), 0.7, 1e-15);
  EXPECT_NEAR(value(v, "f1"), 2.0 / 3, 1e-15);
  EXPECT_NEAR(value(v, "f1_macro"), (2.0 / 3 + 8.0 / 11) / 2, 1e-15);
  EXPECT_NEAR(value(v, "f1_micro"), 0.7, 1e-15);
  EXPECT_NEAR(value(v, "matthews_correlation"), 10 / std::sqrt(600.0), 1e-15);
}

// scikit-learn's documentation of matthews_corrcoef: [+1, +1, +1, -1] against [+1, -1, +1, +1] gives -0.33...
TEST(ConfusionMatrix, Matthews) {
  EXPECT_NEAR(value(confusion(2, {1, 1, 1, 0}, {1, 0, 1, 1}), "matthews_correlation"), -1.0 / 3, 1e-15);
}

TEST(ConfusionMatrix, ExtremesAndUndefinedRatios) {
  const MetricValues right = confusion(2, {0, 1, 0, 1}, {0, 1, 0, 1});
  for (const char* name : {"accuracy", "f1", "f1_macro", "f1_micro", "matthews_correlation"}) {
    EXPECT_EQ(value(right, name), 1) << name;
  }
  const MetricValues wrong = confusion(2, {0, 1, 0, 1}, {1, 0, 1, 0});
  EXPECT_EQ(value(wrong, "accuracy"), 0);
  EXPECT_EQ(value(wrong, "matthews_correlation"), -1);
  // One label only: precision of the other is 0/0, matthews has a zero below the line.
  const MetricValues one = confusion(2, {0, 1, 0, 1}, {0, 0, 0, 0});
  EXPECT_EQ(value(one, "f1"), 0);
  EXPECT_NEAR(value(one, "f1_macro"), (2.0 / 3) / 2, 1e-15);
  EXPECT_EQ(value(one, "matthews_correlation"), 0);
  EXPECT_EQ(value(ConfusionMatrix(2).values(), "accuracy"), 0);
}

// A label of the head that neither labels nor predictions hold is not averaged over.
TEST(ConfusionMatrix, MacroLeavesOutLabelsThatDoNotOccur) {
  EXPECT_NEAR(value(confusion(5, {0, 1, 1}, {0, 1, 0}), "f1_macro"), (2.0 / 3 + 2.0 / 3) / 2, 1e-15);
  EXPECT_NEAR(value(confusion(5, {0, 1, 1}, {0, 1, 4}), "f1_macro"), (1 + 2.0 / 3 + 0) / 3, 1e-15);
}

// Three examples, three labels; a logit above 0 is a yes. By label: (tp, fp, fn) = (1, 1, 0), (1, 0, 1), (0,
// 1, 0); f1 2/3, 2/3, 0. Together tp 2, fp 2, fn 1: f1_micro 4/7. Two examples are right in all labels.
TEST(LabelCounts, ByHand) {
  LabelCounts m(3);
  const float labels[3][3] = {{1, 1, 0}, {0, 1, 0}, {0, 0, 0}};
  const float logits[3][3] = {{2.0f, 0.5f, -1.0f}, {0.1f, -3.0f, 4.0f}, {-0.5f, 0.0f, -2.0f}};
  for (int i = 0; i < 3; ++i) m.add(labels[i], logits[i]);
  const MetricValues v = m.values();
  EXPECT_THAT(names(v), ElementsAre("accuracy", "f1_micro", "f1_macro"));
  EXPECT_NEAR(value(v, "accuracy"), 2.0 / 3, 1e-15);
  EXPECT_NEAR(value(v, "f1_micro"), 4.0 / 7, 1e-15);
  EXPECT_NEAR(value(v, "f1_macro"), (2.0 / 3 + 2.0 / 3 + 0) / 3, 1e-15);
}

MetricValues correlation(const std::vector<float>& labels, const std::vector<float>& predictions) {
  Correlation m;
  for (size_t i = 0; i < labels.size(); ++i) m.add(labels[i], predictions[i]);
  return m.values();
}

// SciPy's documentation: pearsonr([1, 2, 3, 4, 5], [10, 9, 2.5, 6, 4]) = -0.742611, spearmanr([1, 2, 3, 4,
// 5], [5, 6, 7, 8, 7]) = 0.820783.
TEST(Correlation, PearsonSpearmanAndMse) {
  const MetricValues a = correlation({1, 2, 3, 4, 5}, {10, 9, 2.5, 6, 4});
  EXPECT_THAT(names(a), ElementsAre("mse", "pearson", "spearmanr"));
  // Means 3 and 6.3; products of deviations -7.4 - 2.7 + 0 - 0.3 - 4.6 = -15; squares 10 and
  // 13.69 + 7.29 + 14.44 + 0.09 + 5.29 = 40.8.
  EXPECT_NEAR(value(a, "pearson"), -15 / std::sqrt(408.0), 1e-12);
  EXPECT_NEAR(value(a, "pearson"), -0.742611, 1e-6);
  EXPECT_NEAR(value(a, "mse"), (81 + 49 + 0.25 + 4 + 1) / 5, 1e-12);
  // Ranks 5, 4, 1, 3, 2: 1 - 6 (16 + 4 + 4 + 1 + 9) / (5 * 24) = -0.7.
  EXPECT_NEAR(value(a, "spearmanr"), -0.7, 1e-12);
  // A tie: ranks 1, 2, 3.5, 5, 3.5 against 1..5.
  EXPECT_NEAR(value(correlation({1, 2, 3, 4, 5}, {5, 6, 7, 8, 7}), "spearmanr"), 0.8207826816681233, 1e-12);
}

TEST(Correlation, Degenerate) {
  EXPECT_EQ(value(correlation({1, 1, 1}, {1, 2, 3}), "pearson"), 0);
  EXPECT_EQ(value(correlation({1, 1, 1}, {1, 2, 3}), "spearmanr"), 0);
  EXPECT_NEAR(value(correlation({1, 2, 3}, {2, 4, 6}), "pearson"), 1, 1e-12);
  EXPECT_NEAR(value(correlation({1, 2, 3}, {6, 4, 2}), "spearmanr"), -1, 1e-12);
  EXPECT_EQ(value(Correlation().values(), "mse"), 0);
  // Large and nearly equal: two passes, no cancellation.
  EXPECT_NEAR(value(correlation({100000, 100001, 100002}, {200000, 200001, 200002}), "pearson"), 1, 1e-9);
}

}  // namespace
}  // namespace graft::tasks
