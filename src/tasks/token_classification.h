// A label for each word of a text: entity recognition, part of speech.
#pragma once
#include <string>
#include <vector>

#include "tasks/task_table.h"
#include "tasks/token_metrics.h"

namespace graft::tasks {

// The cross entropy of a label for each of label_rows.
class TokenClassification : public Task {
 public:
  explicit TokenClassification(std::vector<std::string> labels, const TokenMetricOptions& options = {});

  double loss_terms(const data::RaggedBatch& batch) const override {
    return static_cast<double>(batch.labels.size());
  }
  engine::Var loss(engine::Tape& tape, engine::Var logits, const data::RaggedBatch& batch, double denominator,
                   double* total = nullptr) const override;
  std::unique_ptr<Metrics> metrics() const override;
  // f1 of the entities, or accuracy where the labels are no tags of entities.
  PrimaryMetric primary_metric() const override { return {has_entities_ ? "f1" : "accuracy", true}; }
  const char* term_name() const override { return "labelled word"; }

 protected:
  LabelOptions label_options() const override { return LabelOptions::classes; }

 private:
  std::vector<std::string> labels_;
  TokenMetricOptions options_;
  bool has_entities_;
};

const TaskEntry& token_classification_task();

}  // namespace graft::tasks
