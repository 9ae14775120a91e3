// Multiple choice: which of an example's sequences is the right one (Zellers et al. 2018; the reference's
// run_swag).
#pragma once
#include "tasks/task_table.h"

namespace graft::tasks {

// One score for each choice; the loss is the cross entropy over the choices of an example, which may be of
// any number.
class MultipleChoice : public Task {
 public:
  double loss_terms(const data::RaggedBatch& batch) const override;
  engine::Var loss(engine::Tape& tape, engine::Var logits, const data::RaggedBatch& batch, double denominator,
                   double* total = nullptr) const override;
  std::unique_ptr<Metrics> metrics() const override;  // accuracy
  PrimaryMetric primary_metric() const override { return {"accuracy", true}; }
};

const TaskEntry& multiple_choice_task();

}  // namespace graft::tasks
