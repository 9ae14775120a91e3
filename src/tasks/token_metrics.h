// Precision, recall and F1 of entities, as seqeval 1.2.2 (Nakayama 2018) computes them, and of classes of
// words; token accuracy. Streaming and exact: the values follow from counts.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "data/tag_scheme.h"
#include "tasks/metrics.h"

namespace graft::tasks {

struct TokenMetricOptions {
  TagScheme scheme = TagScheme::none;  // of the tags, for strict
  bool strict = false;                 // entities count only as the scheme defines them (mode="strict")
  bool per_type = false;               // also macro and weighted means and the values of each type
};

// Where the labels are tags such as B-PER: precision, recall, f1 of all entities (micro), accuracy. Otherwise
// accuracy and f1_macro over the labels that occur. A ratio 0/0 counts as 0, as in seqeval and scikit-learn.
class TokenCounts {
 public:
  TokenCounts(const std::vector<std::string>& labels, const TokenMetricOptions& options);
  // The labels and the predictions of the words of one text, as ids.
  void add(const std::vector<int>& truth, const std::vector<int>& predictions);
  bool has_entities() const { return tags_.has_entities(); }
  Partial partial() const;
  void merge(const Partial& part);
  MetricValues values() const;
  // The names that values() may have: with per_type also those of types that have not occurred.
  std::vector<std::string> names() const;

 private:
  struct Count {
    int64_t right = 0, predicted = 0, actual = 0;
  };
  struct Scores {
    double precision = 0, recall = 0, f1 = 0;
  };
  static Scores scores_of(const Count& count);
  std::vector<data::TaggedEntity> entities(const std::vector<int>& ids) const;
  void append_means(MetricValues& out) const;

  data::TagSet tags_;
  TokenMetricOptions options_;
  std::vector<std::string> names_;  // of the types, or of the labels
  std::vector<Count> counts_;       // of each name
  int64_t tokens_ = 0, right_ = 0;
};

}  // namespace graft::tasks
