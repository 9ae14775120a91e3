// Streaming metrics: updated per batch, exact, without storing logits.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace graft::tasks {

// Names and values in the order in which they are shown. NaN: the metric is undefined for this data (no
// example, a constant column in a correlation); json has null for it.
using MetricValues = std::vector<std::pair<std::string, double>>;

std::vector<std::string> names_of(const MetricValues& values);

// The metric that compares two models of a task.
struct PrimaryMetric {
  const char* name;
  bool larger_is_better;
};

// All predictions are one label, although the data has others: the model ignores its input.
struct Collapse {
  int label = 0;
  int64_t examples = 0;
  double share = 0;  // of the examples that have this label
};

// Far more predictions are right if the labels are exchanged: those of the data have another order than the
// model's.
struct Permutation {
  std::vector<int> label_of;  // the label that most examples of each prediction have
  double accuracy = 0, permuted_accuracy = 0;
};

// A metric of a part of the data: counts, which are exact in a double, or values.
using Partial = std::vector<double>;

// Single-label classification: accuracy, f1_macro, f1_micro, matthews_correlation (Gorodkin 2004, "Comparing
// two K-category assignments by a K-category correlation coefficient"); for two labels also f1 (of label 1).
// Definitions and the value 0 of a ratio 0/0 are scikit-learn's. They follow from three counts per
// label, so memory is linear in the number of labels.
class ClassCounts {
 public:
  explicit ClassCounts(int num_labels);
  // Both are in 0..num_labels-1.
  void add(int label, int prediction);
  Partial partial() const;
  void merge(const Partial& part);
  MetricValues values() const;
  std::optional<Collapse> collapse() const;
  // Of at most 16 labels, and where 30 % more of at least 50 examples would be right.
  std::optional<Permutation> permutation() const;

 private:
  double f1(size_t label) const;
  double matthews() const;
  std::vector<int64_t> right_, actual_, predicted_;  // [num_labels]
  std::vector<int64_t> confusion_;                   // [prediction, label]; empty for many labels
  int64_t examples_ = 0, correct_ = 0;
};

// Multi-label: accuracy (all labels of an example right), f1_micro, f1_macro (over all labels of the head).
class LabelCounts {
 public:
  explicit LabelCounts(int num_labels) : tp_(num_labels), fp_(num_labels), fn_(num_labels) {}
  void add(const float* labels, const float* logits);
  Partial partial() const;
  void merge(const Partial& part);
  MetricValues values() const;

 private:
  std::vector<int64_t> tp_, fp_, fn_;
  int64_t examples_ = 0, exact_ = 0;
};

// Correlation of two columns of the same length; NaN where one of them is constant.
double pearson(const std::vector<double>& x, const std::vector<double>& y);

// Regression: mse, pearson, spearmanr (undefined where a column is constant, as SciPy's). Ranks need all
// values: eight bytes per example.
class Correlation {
 public:
  void add(float label, float prediction);
  Partial partial() const;
  void merge(const Partial& part);
  MetricValues values() const;

 private:
  std::vector<float> labels_, predictions_;
};

}  // namespace graft::tasks
