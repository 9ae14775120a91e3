// Extractive question answering: the first and the last token of the answer (Rajpurkar et al. 2016; the
// reference's run_qa).
#pragma once
#include "tasks/task_table.h"

namespace graft::tasks {

// Each sequence is a window of a context; the loss is the mean of the cross entropies of start and end over
// its tokens. A window without positions (negative) is left out.
class QuestionAnswering : public Task {
 public:
  explicit QuestionAnswering(QuestionSettings settings = {}) : settings_(std::move(settings)) {}

  double loss_terms(const data::RaggedBatch& batch) const override;
  engine::Var loss(engine::Tape& tape, engine::Var logits, const data::RaggedBatch& batch, double denominator,
                   double* total = nullptr) const override;
  std::unique_ptr<Metrics> metrics() const override;                             // of no questions
  std::unique_ptr<Metrics> metrics_of(const Features& features) const override;  // QuestionMetrics
  PrimaryMetric primary_metric() const override { return {"f1", true}; }
  const char* term_name() const override { return "answer"; }

 private:
  QuestionSettings settings_;
};

const TaskEntry& question_answering_task();

}  // namespace graft::tasks
