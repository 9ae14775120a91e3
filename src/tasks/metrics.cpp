#include "tasks/metrics.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/error.h"

namespace graft::tasks {
namespace {

constexpr double kUndefined = std::numeric_limits<double>::quiet_NaN();

// 0/0 counts as 0: scikit-learn's zero_division.
double ratio(double a, double b) { return b == 0 ? 0.0 : a / b; }
double share(int64_t part, int64_t all) {
  return all == 0 ? kUndefined : static_cast<double>(part) / static_cast<double>(all);
}

// Counts one after the other, and back.
Partial join_counts(std::initializer_list<const std::vector<int64_t>*> counts, int64_t last) {
  Partial out;
  for (const std::vector<int64_t>* c : counts) out.insert(out.end(), c->begin(), c->end());
  out.push_back(static_cast<double>(last));
  return out;
}

void add_counts(std::initializer_list<std::vector<int64_t>*> counts, int64_t& last, const Partial& part) {
  size_t at = 0;
  for (const std::vector<int64_t>* c : counts) at += c->size();
  if (part.size() != at + 1)
    fail("metrics of {} numbers cannot be merged with {}: are the labels the same?", at + 1, part.size());
  at = 0;
  for (std::vector<int64_t>* c : counts)
    for (int64_t& n : *c) n += static_cast<int64_t>(part[at++]);
  last += static_cast<int64_t>(part[at]);
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

double pearson(const std::vector<double>& x, const std::vector<double>& y) {
  // By value: the rounding of the mean would leave a small variance.
  const auto constant = [](const std::vector<double>& v) {
    return std::all_of(v.begin(), v.end(), [&](double value) { return value == v.front(); });
  };
  if (constant(x) || constant(y)) return kUndefined;
  const double n = static_cast<double>(x.size());
  const double mx = std::accumulate(x.begin(), x.end(), 0.0) / n,
               my = std::accumulate(y.begin(), y.end(), 0.0) / n;
  double xy = 0, xx = 0, yy = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    xy += (x[i] - mx) * (y[i] - my);
    xx += (x[i] - mx) * (x[i] - mx);
    yy += (y[i] - my) * (y[i] - my);
  }
  return std::clamp(xy / (std::sqrt(xx) * std::sqrt(yy)), -1.0, 1.0);
}

ClassCounts::ClassCounts(int num_labels)
    : right_(static_cast<size_t>(num_labels)), actual_(right_.size()), predicted_(right_.size()) {
  constexpr size_t kMost = 16;  // the search takes 2^labels steps
  if (right_.size() <= kMost) confusion_.resize(right_.size() * right_.size());
}

void ClassCounts::add(int label, int prediction) {
  ++actual_[static_cast<size_t>(label)];
  ++predicted_[static_cast<size_t>(prediction)];
  if (!confusion_.empty())
    ++confusion_[static_cast<size_t>(prediction) * actual_.size() + static_cast<size_t>(label)];
  ++examples_;
  if (label != prediction) return;
  ++right_[static_cast<size_t>(label)];
  ++correct_;
}

Partial ClassCounts::partial() const {
  return join_counts({&right_, &actual_, &predicted_, &confusion_}, examples_);
}

void ClassCounts::merge(const Partial& part) {
  add_counts({&right_, &actual_, &predicted_, &confusion_}, examples_, part);
  correct_ = std::accumulate(right_.begin(), right_.end(), int64_t{0});
}

std::optional<Collapse> ClassCounts::collapse() const {
  constexpr int64_t kFewest = 20;  // of fewer examples a good model may find one label alone
  const auto one = std::find_if(predicted_.begin(), predicted_.end(), [](int64_t n) { return n > 0; });
  if (examples_ < kFewest || one == predicted_.end() || *one != examples_) return std::nullopt;
  const int label = static_cast<int>(one - predicted_.begin());
  if (correct_ == examples_) return std::nullopt;
  return Collapse{label, examples_, static_cast<double>(correct_) / static_cast<double>(examples_)};
}

// The exact best assignment, by subsets of labels that the first predictions have taken (Held & Karp 1962).
std::optional<Permutation> ClassCounts::permutation() const {
  constexpr int64_t kFewest = 50;
  constexpr double kGain = 0.3;
  if (confusion_.empty() || examples_ < kFewest) return std::nullopt;
  const size_t n = actual_.size(), all = (size_t{1} << n) - 1;
  std::vector<int64_t> best(all + 1, -1);  // right predictions among the first popcount(subset) ones
  std::vector<uint8_t> last(all + 1);      // the label of the last of them
  best[0] = 0;
  for (size_t taken = 0; taken < all; ++taken) {
    const auto prediction = static_cast<size_t>(std::popcount(taken));
    for (size_t label = 0; label < n; ++label) {
      const size_t next = taken | size_t{1} << label;
      const int64_t right = best[taken] + confusion_[prediction * n + label];
      if (next == taken || right <= best[next]) continue;
      best[next] = right;
      last[next] = static_cast<uint8_t>(label);
    }
  }
  const auto share_of = [&](int64_t right) {
    return static_cast<double>(right) / static_cast<double>(examples_);
  };
  if (share_of(best[all] - correct_) < kGain) return std::nullopt;
  Permutation out{std::vector<int>(n), share_of(correct_), share_of(best[all])};
  for (size_t taken = all, i = n; i-- > 0; taken ^= size_t{1} << last[taken]) out.label_of[i] = last[taken];
  return out;
}

double ClassCounts::f1(size_t label) const {
  return ratio(2.0 * static_cast<double>(right_[label]),
               static_cast<double>(predicted_[label] + actual_[label]));
}

// With s examples, c of them right, t_k and p_k times label k and prediction k:
// (c s - sum p_k t_k) / sqrt((s^2 - sum p_k^2) (s^2 - sum t_k^2)).
double ClassCounts::matthews() const {
  long double pt = 0, pp = 0, tt = 0;  // 64 bits of mantissa: exact sums of squares
  for (size_t k = 0; k < actual_.size(); ++k) {
    const long double t = static_cast<long double>(actual_[k]), p = static_cast<long double>(predicted_[k]);
    pt += p * t, pp += p * p, tt += t * t;
  }
  const long double s = static_cast<long double>(examples_), c = static_cast<long double>(correct_);
  return ratio(static_cast<double>(c * s - pt),
               static_cast<double>(std::sqrt(s * s - pp) * std::sqrt(s * s - tt)));
}

MetricValues ClassCounts::values() const {
  double macro = 0;
  int present = 0;  // scikit-learn averages over labels that occur in labels or predictions
  for (size_t k = 0; k < actual_.size(); ++k) {
    if (actual_[k] + predicted_[k] == 0) continue;
    macro += f1(k);
    ++present;
  }
  const bool any = examples_ > 0, binary = actual_.size() == 2;
  const double accuracy = share(correct_, examples_);
  MetricValues out = {{"accuracy", accuracy}};
  if (binary) out.emplace_back("f1", any ? f1(1) : kUndefined);
  out.emplace_back("f1_macro", any ? macro / present : kUndefined);
  out.emplace_back("f1_micro", accuracy);  // with one label an example, the two are the same number
  out.emplace_back("matthews_correlation", any ? matthews() : kUndefined);
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

Partial LabelCounts::partial() const {
  Partial out = join_counts({&tp_, &fp_, &fn_}, examples_);
  out.push_back(static_cast<double>(exact_));
  return out;
}

void LabelCounts::merge(const Partial& part) {
  if (part.empty()) fail("metrics of no numbers cannot be merged");
  add_counts({&tp_, &fp_, &fn_}, examples_, {part.begin(), part.end() - 1});
  exact_ += static_cast<int64_t>(part.back());
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
  const bool any = examples_ > 0;
  return {{"accuracy", share(exact_, examples_)},
          {"f1_micro", any ? f1(tp, fp, fn) : kUndefined},
          {"f1_macro", any ? macro / static_cast<double>(tp_.size()) : kUndefined}};
}

void Correlation::add(float label, float prediction) {
  labels_.push_back(label);
  predictions_.push_back(prediction);
}

Partial Correlation::partial() const {
  Partial out(labels_.begin(), labels_.end());
  out.insert(out.end(), predictions_.begin(), predictions_.end());
  return out;
}

void Correlation::merge(const Partial& part) {
  if (part.size() % 2 != 0) fail("{} numbers are no pairs of labels and predictions", part.size());
  for (size_t i = 0; i < part.size() / 2; ++i)
    add(static_cast<float>(part[i]), static_cast<float>(part[part.size() / 2 + i]));
}

MetricValues Correlation::values() const {
  const auto finite = [](const std::vector<float>& v) {
    return std::all_of(v.begin(), v.end(), [](float x) { return std::isfinite(x); });
  };
  // What is not finite has no rank (and must not reach the sort).
  if (labels_.empty() || !finite(labels_) || !finite(predictions_))
    return {{"mse", kUndefined}, {"pearson", kUndefined}, {"spearmanr", kUndefined}};
  double squares = 0;
  for (size_t i = 0; i < labels_.size(); ++i) {
    const double e = static_cast<double>(labels_[i]) - predictions_[i];
    squares += e * e;
  }
  const std::vector<double> x(labels_.begin(), labels_.end()), y(predictions_.begin(), predictions_.end());
  return {{"mse", squares / static_cast<double>(labels_.size())},
          {"pearson", pearson(x, y)},
          {"spearmanr", pearson(ranks(labels_), ranks(predictions_))}};
}

}  // namespace graft::tasks
