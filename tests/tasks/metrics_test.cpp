// Metrics against numbers worked out by hand, or published in the documentation of scikit-learn and SciPy.
#include "tasks/metrics.h"

#include <cmath>
#include <limits>

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

MetricValues counted(int num_labels, const std::vector<int>& labels, const std::vector<int>& predictions) {
  ClassCounts m(num_labels);
  for (size_t i = 0; i < labels.size(); ++i) m.add(labels[i], predictions[i]);
  return m.values();
}

// scikit-learn's documentation of f1_score: y_true = [0, 1, 2, 0, 1, 2], y_pred = [0, 2, 1, 0, 0, 1] has f1
// [0.8, 0, 0], macro 0.26..., micro 0.33...
TEST(ClassCounts, ThreeLabels) {
  const MetricValues v = counted(3, {0, 1, 2, 0, 1, 2}, {0, 2, 1, 0, 0, 1});
  EXPECT_THAT(names(v), ElementsAre("accuracy", "f1_macro", "f1_micro", "matthews_correlation"));
  EXPECT_NEAR(value(v, "accuracy"), 1.0 / 3, 1e-15);
  EXPECT_NEAR(value(v, "f1_macro"), 0.8 / 3, 1e-15);
  EXPECT_NEAR(value(v, "f1_micro"), 1.0 / 3, 1e-15);
}

// tp 3, fp 1, fn 2, tn 4: accuracy 7/10; f1 of label 1 = 6/9, of label 0 = 8/11; matthews
// (3*4 - 1*2) / sqrt(4 * 5 * 5 * 6) = 10 / sqrt(600).
TEST(ClassCounts, TwoLabels) {
  const MetricValues v = counted(2, {1, 1, 1, 1, 1, 0, 0, 0, 0, 0}, {1, 1, 1, 0, 0, 1, 0, 0, 0, 0});
  EXPECT_THAT(names(v), ElementsAre("accuracy", "f1", "f1_macro", "f1_micro", "matthews_correlation"));
  EXPECT_NEAR(value(v, "accuracy"), 0.7, 1e-15);
  EXPECT_NEAR(value(v, "f1"), 2.0 / 3, 1e-15);
  EXPECT_NEAR(value(v, "f1_macro"), (2.0 / 3 + 8.0 / 11) / 2, 1e-15);
  EXPECT_NEAR(value(v, "f1_micro"), 0.7, 1e-15);
  EXPECT_NEAR(value(v, "matthews_correlation"), 10 / std::sqrt(600.0), 1e-15);
}

// scikit-learn's documentation of matthews_corrcoef: [+1, +1, +1, -1] against [+1, -1, +1, +1] gives -0.33...
TEST(ClassCounts, MatthewsOfTwoLabels) {
  EXPECT_NEAR(value(counted(2, {1, 1, 1, 0}, {1, 0, 1, 1}), "matthews_correlation"), -1.0 / 3, 1e-15);
}

TEST(ClassCounts, ExtremesAndUndefinedRatios) {
  const MetricValues right = counted(2, {0, 1, 0, 1}, {0, 1, 0, 1});
  for (const char* name : {"accuracy", "f1", "f1_macro", "f1_micro", "matthews_correlation"}) {
    EXPECT_EQ(value(right, name), 1) << name;
  }
  const MetricValues wrong = counted(2, {0, 1, 0, 1}, {1, 0, 1, 0});
  EXPECT_EQ(value(wrong, "accuracy"), 0);
  EXPECT_EQ(value(wrong, "matthews_correlation"), -1);
  // One label only: precision of the other is 0/0, matthews has a zero below the line.
  const MetricValues one = counted(2, {0, 1, 0, 1}, {0, 0, 0, 0});
  EXPECT_EQ(value(one, "f1"), 0);
  EXPECT_NEAR(value(one, "f1_macro"), (2.0 / 3) / 2, 1e-15);
  EXPECT_EQ(value(one, "matthews_correlation"), 0);
}

// scikit-learn 1.9.1 on the same sequences.
TEST(ClassCounts, EqualsScikitLearn) {
  struct Case {
    int num_labels;
    double accuracy, f1_macro, matthews;
  };
  for (const Case& c : {Case{2, 0.785, 0.7700473274686489, 0.5498821965050114},
                        Case{5, 0.66, 0.66002737294494, 0.5749914057250706}}) {
    std::vector<int> labels, predictions;
    for (int i = 0; i < 200; ++i) {
      labels.push_back((i * 7 + i / 3) % c.num_labels);
      predictions.push_back(i * 31 % 7 < 4 ? labels.back() : (i * 13 + 1) % c.num_labels);
    }
    const MetricValues v = counted(c.num_labels, labels, predictions);
    EXPECT_NEAR(value(v, "accuracy"), c.accuracy, 1e-15);
    EXPECT_NEAR(value(v, "f1_macro"), c.f1_macro, 1e-15);
    EXPECT_NEAR(value(v, "f1_micro"), c.accuracy, 1e-15);
    EXPECT_NEAR(value(v, "matthews_correlation"), c.matthews, 1e-14);
  }
}

// The degenerate cases of scikit-learn's matthews_corrcoef: 0 where labels or predictions are constant.
TEST(ClassCounts, MatthewsOfDegenerateCases) {
  const auto matthews = [](const std::vector<int>& labels, const std::vector<int>& predictions) {
    return value(counted(3, labels, predictions), "matthews_correlation");
  };
  EXPECT_EQ(matthews({0, 0, 0}, {0, 0, 0}), 0);
  EXPECT_EQ(matthews({0, 0, 0}, {0, 1, 2}), 0);
  EXPECT_EQ(matthews({0, 1, 2}, {1, 1, 1}), 0);
  EXPECT_EQ(matthews({0, 1, 2}, {1, 2, 0}), -0.5);
  EXPECT_EQ(matthews({0, 1, 2}, {0, 1, 2}), 1);
}

TEST(ClassCounts, WithoutAnExampleNothingIsDefined) {
  for (const int n : {1, 2, 3}) {
    for (const auto& [name, v] : ClassCounts(n).values()) EXPECT_TRUE(std::isnan(v)) << name;
  }
  for (const auto& [name, v] : LabelCounts(3).values()) EXPECT_TRUE(std::isnan(v)) << name;
  for (const auto& [name, v] : Correlation().values()) EXPECT_TRUE(std::isnan(v)) << name;
}

// 200,000 labels: labels squared would be 320 GB.
TEST(ClassCounts, FindsLabelsInAnotherOrder) {
  const std::vector<int> order = {2, 0, 1, 3};  // the label that the data means by each prediction
  ClassCounts counts(4), half(4), rest(4);
  for (int i = 0; i < 100; ++i) {
    const int prediction = i % 4, label = i % 10 == 0 ? prediction : order[static_cast<size_t>(prediction)];
    for (ClassCounts* c : {&counts, i < 30 ? &half : &rest}) c->add(label, prediction);
  }
  const std::optional<Permutation> found = counts.permutation();
  ASSERT_TRUE(found);
  EXPECT_EQ(found->label_of, order);
  EXPECT_NEAR(found->permuted_accuracy, 0.90, 1e-12);
  EXPECT_NEAR(found->accuracy, 0.35, 1e-12);
  EXPECT_FALSE(half.permutation());  // too few
  half.merge(rest.partial());
  EXPECT_EQ(half.permutation()->label_of, order);
  // A good model, and one that guesses.
  ClassCounts good(4), guess(4);
  for (int i = 0; i < 100; ++i) good.add(i % 4, i % 8 == 0 ? 0 : i % 4), guess.add(i * i % 4, i / 7 % 4);
  EXPECT_FALSE(good.permutation());
  EXPECT_FALSE(guess.permutation());
}

TEST(ClassCounts, MemoryGrowsWithTheLabelsOnly) {
  constexpr int kLabels = 200000;
  const MetricValues v = counted(kLabels, {0, kLabels - 1, 5}, {0, kLabels - 1, 7});
  EXPECT_NEAR(value(v, "accuracy"), 2.0 / 3, 1e-15);
  EXPECT_NEAR(value(v, "f1_macro"), 2.0 / 4, 1e-15);
}

// A label of the head that neither labels nor predictions hold is not averaged over.
TEST(ClassCounts, MacroLeavesOutLabelsThatDoNotOccur) {
  EXPECT_NEAR(value(counted(5, {0, 1, 1}, {0, 1, 0}), "f1_macro"), (2.0 / 3 + 2.0 / 3) / 2, 1e-15);
  EXPECT_NEAR(value(counted(5, {0, 1, 1}, {0, 1, 4}), "f1_macro"), (1 + 2.0 / 3 + 0) / 3, 1e-15);
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

// scikit-learn 1.9.1 on the same table.
TEST(LabelCounts, EqualsScikitLearn) {
  LabelCounts m(4);
  for (int i = 0; i < 60; ++i) {
    float labels[4], logits[4];
    for (int c = 0; c < 4; ++c) {
      labels[c] = i * (c + 2) * 7 % 11 < 4 ? 1.0f : 0.0f;
      logits[c] = static_cast<float>(i * (c + 3) * 5 % 13 - 6);
    }
    m.add(labels, logits);
  }
  EXPECT_NEAR(value(m.values(), "accuracy"), 0.1, 1e-15);
  EXPECT_NEAR(value(m.values(), "f1_micro"), 0.38613861386138615, 1e-15);
  EXPECT_NEAR(value(m.values(), "f1_macro"), 0.38694647670388915, 1e-15);
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

// SciPy 1.17.1 and scikit-learn 1.9.1 on the same sequences, with ties.
TEST(Correlation, EqualsScipy) {
  std::vector<float> labels, predictions;
  for (int i = 0; i < 150; ++i) {
    labels.push_back(static_cast<float>(i * 37 % 101) / 8);
    predictions.push_back(labels.back() / 2 + static_cast<float>(i * 53 % 29) / 4);
  }
  const MetricValues v = correlation(labels, predictions);
  EXPECT_NEAR(value(v, "mse"), 7.871171875, 1e-12);
  EXPECT_NEAR(value(v, "pearson"), 0.6556109796054357, 1e-14);
  EXPECT_NEAR(value(v, "spearmanr"), 0.644003549045703, 1e-14);
}

// SciPy warns "An input array is constant; the correlation coefficient is not defined" and gives NaN.
TEST(Correlation, OfAConstantColumnIsUndefined) {
  for (const float constant : {1.0f, 0.1f, 1e-30f, 3e30f}) {
    const std::vector<float> column(7, constant), other = {1, 2, 3, 4, 5, 6, 7};
    for (const MetricValues& v : {correlation(column, other), correlation(other, column)}) {
      EXPECT_TRUE(std::isnan(value(v, "pearson"))) << constant;
      EXPECT_TRUE(std::isnan(value(v, "spearmanr"))) << constant;
      EXPECT_TRUE(std::isfinite(value(v, "mse"))) << constant;
    }
  }
  EXPECT_TRUE(std::isnan(value(correlation({1}, {2}), "pearson")));
}

TEST(Correlation, OfWhatIsNotFiniteIsUndefined) {
  const float nan = std::nanf(""), inf = std::numeric_limits<float>::infinity();
  for (const float bad : {nan, inf, -inf}) {
    for (const auto& [name, v] : correlation({1, 2, 3}, {1, bad, 2})) EXPECT_TRUE(std::isnan(v)) << name;
  }
}

TEST(Correlation, ExtremesAreReached) {
  EXPECT_NEAR(value(correlation({1, 2, 3}, {2, 4, 6}), "pearson"), 1, 1e-12);
  EXPECT_NEAR(value(correlation({1, 2, 3}, {6, 4, 2}), "spearmanr"), -1, 1e-12);
  // Large and nearly equal: two passes, no cancellation.
  EXPECT_NEAR(value(correlation({100000, 100001, 100002}, {200000, 200001, 200002}), "pearson"), 1, 1e-9);
}

// Halves that two processes count, merged, against one that counts all: the same numbers, bit for bit.
template <class Metric, class Add>
void expect_merges(Metric empty, const Add& add) {
  Metric whole = empty, first = empty, second = empty, merged = empty;
  for (int i = 0; i < 100; ++i) {
    add(whole, i);
    add(i < 37 ? first : second, i);
  }
  merged.merge(first.partial());
  merged.merge(second.partial());
  merged.merge(empty.partial());  // a process without examples
  EXPECT_EQ(merged.values(), whole.values());
  EXPECT_NE(merged.values(), second.values());
  EXPECT_THAT(test::error_of([&] { merged.merge({1, 2, 3, 4, 5}); }), testing::Not(testing::IsEmpty()));
}

TEST(Metrics, HalvesMergeToTheWhole) {
  PhiloxStream draws(philox_key(1, 0, "merge"));
  std::vector<int> labels, predictions;
  std::vector<float> x, y;
  for (int i = 0; i < 200; ++i) {
    labels.push_back(static_cast<int>(draws.below(3)));
    predictions.push_back(static_cast<int>(draws.below(3)));
    x.push_back(static_cast<float>(draws.normal()));
    y.push_back(static_cast<float>(draws.normal()));
  }
  expect_merges(ClassCounts(3), [&](ClassCounts& m, size_t i) { m.add(labels[i], predictions[i]); });
  expect_merges(LabelCounts(2), [&](LabelCounts& m, size_t i) { m.add(&x[2 * i], &y[2 * i]); });
  expect_merges(Correlation(), [&](Correlation& m, size_t i) { m.add(x[i], y[i]); });
}

}  // namespace
}  // namespace graft::tasks
