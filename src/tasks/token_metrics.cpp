#include "tasks/token_metrics.h"

#include <algorithm>
#include <limits>

#include "base/error.h"

namespace graft::tasks {
namespace {

constexpr double kNoTokens = std::numeric_limits<double>::quiet_NaN();

double part_of_all(int64_t part, int64_t all) {
  return all == 0 ? 0.0 : static_cast<double>(part) / static_cast<double>(all);
}

}  // namespace

TokenCounts::TokenCounts(const std::vector<std::string>& labels, const TokenMetricOptions& options)
    : tags_(labels), options_(options), names_(tags_.has_entities() ? tags_.types() : labels) {
  if (options_.scheme == TagScheme::none) options_.scheme = tags_.scheme_of_names();
  counts_.resize(names_.size());
}

std::vector<data::TaggedEntity> TokenCounts::entities(const std::vector<int>& ids) const {
  std::vector<data::Tag> tags;
  tags.reserve(ids.size());
  for (const int id : ids) tags.push_back(tags_.tag(id));
  return options_.strict ? data::strict_entities(tags, options_.scheme) : data::lenient_entities(tags);
}

void TokenCounts::add(const std::vector<int>& truth, const std::vector<int>& predictions) {
  tokens_ += static_cast<int64_t>(truth.size());
  for (size_t i = 0; i < truth.size(); ++i) right_ += truth[i] == predictions[i];
  if (!has_entities()) {
    for (size_t i = 0; i < truth.size(); ++i) {
      ++counts_[static_cast<size_t>(truth[i])].actual;
      ++counts_[static_cast<size_t>(predictions[i])].predicted;
      counts_[static_cast<size_t>(truth[i])].right += truth[i] == predictions[i];
    }
    return;
  }
  const std::vector<data::TaggedEntity> actual = entities(truth), predicted = entities(predictions);
  for (const data::TaggedEntity& e : predicted) ++counts_[static_cast<size_t>(e.type)].predicted;
  for (const data::TaggedEntity& e : actual) ++counts_[static_cast<size_t>(e.type)].actual;
  // Both are in the order of their ends, and no two of one list share an end.
  auto other = predicted.begin();
  for (const data::TaggedEntity& e : actual) {
    while (other != predicted.end() && other->end < e.end) ++other;
    if (other != predicted.end() && *other == e) ++counts_[static_cast<size_t>(e.type)].right;
  }
}

Partial TokenCounts::partial() const {
  Partial out = {static_cast<double>(tokens_), static_cast<double>(right_)};
  for (const Count& c : counts_)
    for (const int64_t n : {c.right, c.predicted, c.actual}) out.push_back(static_cast<double>(n));
  return out;
}

void TokenCounts::merge(const Partial& part) {
  if (part.size() != 2 + 3 * counts_.size())
    fail("metrics of {} numbers cannot be merged with {}: are the labels the same?", 2 + 3 * counts_.size(),
         part.size());
  tokens_ += static_cast<int64_t>(part[0]);
  right_ += static_cast<int64_t>(part[1]);
  size_t at = 2;
  for (Count& c : counts_)
    for (int64_t* n : {&c.right, &c.predicted, &c.actual}) *n += static_cast<int64_t>(part[at++]);
}

TokenCounts::Scores TokenCounts::scores_of(const Count& c) {
  Scores s{part_of_all(c.right, c.predicted), part_of_all(c.right, c.actual), 0};
  const double sum = s.precision + s.recall;
  s.f1 = 2 * s.precision * s.recall / (sum == 0 ? 1 : sum);
  return s;
}

// Means over the types that occur in labels or predictions, as seqeval's target_names.
void TokenCounts::append_means(MetricValues& out) const {
  Scores macro, weighted;
  double present = 0, support = 0;
  for (const Count& c : counts_) {
    if (c.predicted + c.actual == 0) continue;
    const Scores s = scores_of(c);
    const auto n = static_cast<double>(c.actual);
    macro = {macro.precision + s.precision, macro.recall + s.recall, macro.f1 + s.f1};
    weighted = {weighted.precision + n * s.precision, weighted.recall + n * s.recall, weighted.f1 + n * s.f1};
    ++present;
    support += n;
  }
  const auto add = [&](const char* name, const Scores& s, double count, double nothing) {
    const auto mean = [&](double sum) { return count == 0 ? nothing : sum / count; };
    const std::string end = std::string("_") + name;
    out.emplace_back("precision" + end, mean(s.precision));
    out.emplace_back("recall" + end, mean(s.recall));
    out.emplace_back("f1" + end, mean(s.f1));
  };
  add("macro", macro, present, kNoTokens);
  add("weighted", weighted, support, 0);
}

MetricValues TokenCounts::values() const {
  const double accuracy = tokens_ == 0 ? kNoTokens : part_of_all(right_, tokens_);
  MetricValues out;
  if (has_entities()) {
    Count all;
    for (const Count& c : counts_)
      all = {all.right + c.right, all.predicted + c.predicted, all.actual + c.actual};
    const Scores s = scores_of(all);
    out = {{"precision", s.precision}, {"recall", s.recall}, {"f1", s.f1}, {"accuracy", accuracy}};
    if (options_.per_type) append_means(out);
  } else {
    MetricValues means;
    append_means(means);
    out = {{"accuracy", accuracy}};
    for (const auto& [name, value] : means)
      if (options_.per_type || name == "f1_macro") out.emplace_back(name, value);
  }
  for (size_t i = 0; i < counts_.size() && options_.per_type; ++i) {
    const Count& c = counts_[i];
    if (c.predicted + c.actual == 0) continue;
    const Scores s = scores_of(c);
    out.emplace_back(names_[i] + "_precision", s.precision);
    out.emplace_back(names_[i] + "_recall", s.recall);
    out.emplace_back(names_[i] + "_f1", s.f1);
    out.emplace_back(names_[i] + "_number", static_cast<double>(c.actual));
  }
  return out;
}

std::vector<std::string> TokenCounts::names() const {
  TokenCounts all = *this;
  for (Count& c : all.counts_) c.actual = 1;
  return names_of(all.values());
}

}  // namespace graft::tasks
