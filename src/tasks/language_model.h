// What the language-model tasks share: the accuracy over tokens and the corpus.
#pragma once
#include "data/text_blocks.h"
#include "tasks/task_table.h"

namespace graft::tasks {

// accuracy over the tokens that are predicted; NaN without one. A task counts the right ones.
class TokenAccuracy : public Metrics {
 public:
  void add_counts(int64_t right, int64_t terms) override {
    right_ += right;
    total_ += terms;
  }
  Partial partial() const override { return {static_cast<double>(right_), static_cast<double>(total_)}; }
  void merge(const Partial& part) override;
  MetricValues values() const override;

 private:
  int64_t right_ = 0, total_ = 0;
};

// The sequences of the text files of `data`, for training and evaluation. Without evaluation files 5 % of the
// lines are held out if the settings ask for evaluation (validation_split_percentage of the reference's
// run_mlm and run_clm). Logs the counts of each part; `unit` names its sequences. `options` holds what is the
// task's own. Throws Error for an id without a row in the embedding.
data::TextBlocks read_corpus(const Model& model, const TaskData& data, const FeatureSettings& settings,
                             data::TextBlockOptions options, const char* unit);

}  // namespace graft::tasks
