// Text to text with an encoder-decoder: translation, summaries, answers, labels as texts (the reference's
// run_summarization and run_translation).
#pragma once
#include "tasks/generated_text.h"
#include "tasks/task_table.h"

namespace graft::tasks {

class Seq2SeqLm : public TokenPrediction {
 public:
  explicit Seq2SeqLm(TargetGeneration generation = {}) : generation_(std::move(generation)) {}

  std::unique_ptr<Metrics> metrics() const override;  // TargetMetrics
  void add_generated(models::State& state, const Features& features, int64_t begin, int64_t end,
                     Metrics& metrics) const override;
  const char* term_name() const override { return "token of a target"; }

 private:
  TargetGeneration generation_;
};

const TaskEntry& seq2seq_lm_task();

}  // namespace graft::tasks
