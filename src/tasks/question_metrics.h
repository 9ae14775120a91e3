// Exact match and F1 of answers, over the windows of each question.
#pragma once
#include <map>

#include "tasks/question_windows.h"

namespace graft::tasks {

// In percent. Without version_2_with_negative exact_match and f1 of SQuAD's evaluate-v1.1.py; with it the
// names of evaluate-v2.0.py: exact, f1, those of the questions with an answer and without one, and the best
// that a threshold on (score of no answer - score of the best answer) gives, with that threshold. `total`
// counts questions. Keeps n_best_size answers a question, so that windows may come in any number of batches.
class QuestionMetrics : public Metrics {
 public:
  // `features` (may be null: no questions) outlive it.
  QuestionMetrics(const QuestionFeatures* features, QuestionSettings settings)
      : features_(features), settings_(std::move(settings)) {}

  void add(const data::RaggedBatch& batch, engine::Tensor logits) override;
  Partial partial() const override;
  void merge(const Partial& part) override;
  MetricValues values() const override;
  std::vector<std::string> names(const data::RaggedBatch& example) const override;

 private:
  const QuestionFeatures* features_;
  QuestionSettings settings_;
  std::map<int64_t, AnswerSearch> searches_;  // by question
};

// A question with its scores, those of its best span as if there were always an answer.
struct ScoredQuestion {
  bool has_answer = false;
  double exact = 0, f1 = 0;            // of the answer
  double span_exact = 0, span_f1 = 0;  // of the best span
  double none_above_best = 0;
};
MetricValues version_2_values(std::vector<ScoredQuestion> questions);

}  // namespace graft::tasks
