#include "tasks/metrics.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace graft::tasks {
namespace {

double ratio(double a, double b) { return b == 0 ? 0.0 : a / b; }

double pearson(const std::vector<double>& x, const std::vector<double>& y) {
  const double n = static_cast<double>(x.size());
  const double mx = std::accumulate(x.begin(), x.end(), 0.0) / n,
               my = std::accumulate(y.begin(), y.end(), 0.0) / n;
  double xy = 0, xx = 0, yy = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    xy += (x[i] - mx) * (y[i] - my);
    xx += (x[i] - mx) * (x[i] - mx);
    yy += (y[i] - my) * (y[i] - my);
  }
  return ratio(xy, std::sqrt(xx * yy));
}

// Ranks from 1; equal values share the mean of their ranks.
std::vector<double> ranks(const std::vector<float>& values) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return values[a] < values[b]; });
  std::vector<double> rank(values.size());
  for (size_t i = 0; i < order.size();) {
    size_t j = i;
    while (j < order.size() && values[order[j]] == values[order[i]]) ++j;
    for (size_t k = i; k < j; ++k) rank[order[k]] = static_cast<double>(i + j + 1) / 2.0;
    i = j;
  }
  return rank;
}

}  // namespace

double ConfusionMatrix::f1(int label) const {
  int64_t predicted = 0, actual = 0;
  for (int j = 0; j < n_; ++j) predicted += at(j, label), actual += at(label, j);
  return ratio(2.0 * static_cast<double>(at(label, label)), static_cast<double>(predicted + actual));
}

double ConfusionMatrix::matthews() const {
  const double tp = static_cast<double>(at(1, 1)), tn = static_cast<double>(at(0, 0));
  const double fp = static_cast<double>(at(0, 1)), fn = static_cast<double>(at(1, 0));
  return ratio(tp * tn - fp * fn, std::sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)));
}

MetricValues ConfusionMatrix::values() const {
  int64_t total = 0, right = 0;
  double macro = 0;
  int present = 0;  // scikit-learn averages over labels that occur in labels or predictions
  for (int i = 0; i < n_; ++i) {
    int64_t seen = 0;
    for (int j = 0; j < n_; ++j) total += at(i, j), seen += at(i, j) + at(j, i);
    right += at(i, i);
    if (seen == 0) continue;
    macro += f1(i);
    ++present;
  }
  const double accuracy = ratio(static_cast<double>(right), static_cast<double>(total));
  MetricValues out = {{"accuracy", accuracy}};
  if (n_ == 2) out.emplace_back("f1", f1(1));
  out.emplace_back("f1_macro", ratio(macro, present));
  out.emplace_back("f1_micro", accuracy);  // with one label an example, the two are the same number
  if (n_ == 2) out.emplace_back("matthews_correlation", matthews());
  return out;
}

void LabelCounts::add(const float* labels, const float* logits) {
  bool exact = true;
  for (size_t i = 0; i < tp_.size(); ++i) {
    const bool label = labels[i] > 0.5f, prediction = logits[i] > 0;  // sigmoid(x) > 0.5
    tp_[i] += label && prediction;
    fp_[i] += !label && prediction;
    fn_[i] += label && !prediction;
    exact &= label == prediction;
  }
  ++examples_;
  exact_ += exact;
}

MetricValues LabelCounts::values() const {
  const auto f1 = [](int64_t tp, int64_t fp, int64_t fn) {
    return ratio(2.0 * static_cast<double>(tp), static_cast<double>(2 * tp + fp + fn));
  };
  double macro = 0;
  int64_t tp = 0, fp = 0, fn = 0;
  for (size_t i = 0; i < tp_.size(); ++i) {
    macro += f1(tp_[i], fp_[i], fn_[i]);
    tp += tp_[i], fp += fp_[i], fn += fn_[i];
  }
  return {{"accuracy", ratio(static_cast<double>(exact_), static_cast<double>(examples_))},
          {"f1_micro", f1(tp, fp, fn)},
          {"f1_macro", ratio(macro, static_cast<double>(tp_.size()))}};
}

void Correlation::add(float label, float prediction) {
  labels_.push_back(label);
  predictions_.push_back(prediction);
}

MetricValues Correlation::values() const {
  double squares = 0;
  for (size_t i = 0; i < labels_.size(); ++i) {
    const double e = static_cast<double>(labels_[i]) - predictions_[i];
    squares += e * e;
  }
  const std::vector<double> x(labels_.begin(), labels_.end()), y(predictions_.begin(), predictions_.end());
  return {{"mse", ratio(squares, static_cast<double>(labels_.size()))},
          {"pearson", pearson(x, y)},
          {"spearmanr", pearson(ranks(labels_), ranks(predictions_))}};
}

}  // namespace graft::tasks
