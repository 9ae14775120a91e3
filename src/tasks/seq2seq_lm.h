// Text to text with an encoder-decoder: translation, summaries, answers, labels as texts (the reference's
// run_summarization and run_translation).
#pragma once
#include "tasks/generated_text.h"
#include "tasks/task_table.h"

namespace graft::tasks {

class Seq2SeqLm : public Task {
 public:
  // label_smoothing: of training only; the loss of an evaluation is the cross entropy itself.
  explicit Seq2SeqLm(double label_smoothing = 0, TargetGeneration generation = {})
      : label_smoothing_(static_cast<float>(label_smoothing)), generation_(std::move(generation)) {}

  double loss_terms(const data::RaggedBatch& batch) const override {
    return static_cast<double>(batch.labels.size());
  }
  engine::Var loss(engine::Tape& tape, engine::Var logits, const data::RaggedBatch& batch, double denominator,
                   double* total = nullptr) const override;
  bool reads_hidden() const override { return true; }
  engine::Var loss_of_hidden(engine::Tape& tape, engine::Var hidden, const engine::Linear& layer,
                             const data::RaggedBatch& batch, double denominator, double* total,
                             int64_t* right) const override;
  std::unique_ptr<Metrics> metrics() const override;  // TargetMetrics
  void add_generated(models::State& state, const Features& features, int64_t begin, int64_t end,
                     Metrics& metrics) const override;
  MetricValues metrics_of_loss(double loss) const override;  // perplexity; infinite beyond a double
  const char* term_name() const override { return "token of a target"; }

 private:
  float smoothing(const engine::Tape& tape) const;
  float label_smoothing_;
  TargetGeneration generation_;
};

const TaskEntry& seq2seq_lm_task();

}  // namespace graft::tasks
