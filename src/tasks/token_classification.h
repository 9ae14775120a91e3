// A label for each word of a text: entity recognition, part of speech.
#pragma once
#include "tasks/task_table.h"

namespace graft::tasks {

// The cross entropy of a label for each of label_rows.
class TokenClassification : public Task {
 public:
  double loss_terms(const data::RaggedBatch& batch) const override {
    return static_cast<double>(batch.labels.size());
  }
  engine::Var loss(engine::Tape& tape, engine::Var logits, const data::RaggedBatch& batch, double denominator,
                   double* total = nullptr) const override;
  std::unique_ptr<Metrics> metrics() const override;
  PrimaryMetric primary_metric() const override { return {"accuracy", true}; }
};

const TaskEntry& token_classification_task();

}  // namespace graft::tasks
