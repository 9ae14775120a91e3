// What the language-model tasks share: the loss of tokens, the accuracy over them, and the corpus.
#pragma once
#include "data/text_blocks.h"
#include "tasks/task_table.h"

namespace graft::tasks {

// accuracy over the tokens that are predicted; NaN without one. Right is a label with the largest logit.
class TokenAccuracy : public Metrics {
 public:
  void add(const data::RaggedBatch& batch, engine::Tensor logits) override;
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

// The cross entropy of a label for each of label_rows, whose logits are never stored in training.
class TokenPrediction : public Task {
 public:
  double loss_terms(const data::RaggedBatch& batch) const override {
    return static_cast<double>(batch.labels.size());
  }
  engine::Var loss(engine::Tape& tape, engine::Var logits, const data::RaggedBatch& batch, double denominator,
                   double* total = nullptr) const override;
  bool reads_hidden() const override { return true; }
  engine::Var loss_of_hidden(engine::Tape& tape, engine::Var hidden, const engine::Linear& layer,
                             const data::RaggedBatch& batch, double denominator, double* total,
                             int64_t* right) const override;
  MetricValues metrics_of_loss(double loss) const override;  // perplexity; infinite beyond a double

 protected:
  LabelOptions label_options() const override { return LabelOptions::tokens; }
};

// The sequences of the text files of `data`, for training and evaluation. Without evaluation files 5 % of the
// lines are held out if the settings ask for evaluation (validation_split_percentage of the reference's
// run_mlm and run_clm). Logs the counts of each part; `unit` names its sequences. `options` holds what is the
// task's own. Throws Error for an id without a row in the embedding.
data::TextBlocks read_corpus(const Model& model, const TaskData& data, const FeatureSettings& settings,
                             data::TextBlockOptions options, const char* unit);

}  // namespace graft::tasks
