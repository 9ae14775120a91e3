// Metrics that are updated batch by batch and are exact at the end: no logits are kept.
#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace graft::tasks {

// Names and values in the order in which they are shown.
using MetricValues = std::vector<std::pair<std::string, double>>;

// Single-label classification from a confusion matrix: accuracy, f1_macro, f1_micro; for two labels also f1
// (of label 1) and matthews_correlation. Definitions as scikit-learn's; an undefined ratio counts as 0.
class ConfusionMatrix {
 public:
  explicit ConfusionMatrix(int num_labels)
      : n_(num_labels), counts_(static_cast<size_t>(num_labels) * num_labels) {}
  void add(int label, int prediction) { ++counts_[static_cast<size_t>(label) * n_ + prediction]; }
  MetricValues values() const;

 private:
  int64_t at(int label, int prediction) const {
    return counts_[static_cast<size_t>(label) * n_ + prediction];
  }
  double f1(int label) const;
  double matthews() const;
  int n_;
  std::vector<int64_t> counts_;
};

// Multi-label: accuracy (all labels of an example right), f1_micro, f1_macro.
class LabelCounts {
 public:
  explicit LabelCounts(int num_labels) : tp_(num_labels), fp_(num_labels), fn_(num_labels) {}
  void add(const float* labels, const float* logits);
  MetricValues values() const;

 private:
  std::vector<int64_t> tp_, fp_, fn_;
  int64_t examples_ = 0, exact_ = 0;
};

// Regression: mse, pearson, spearmanr. Ranks need all values: eight bytes an example.
class Correlation {
 public:
  void add(float label, float prediction);
  MetricValues values() const;

 private:
  std::vector<float> labels_, predictions_;
};

}  // namespace graft::tasks
