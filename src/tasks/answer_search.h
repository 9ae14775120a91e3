// The best answers to a question over the windows of its context, as the reference's
// postprocess_qa_predictions finds them. Only they are kept, no logits.
#pragma once
#include <limits>
#include <utility>
#include <vector>

#include "engine/tensor.h"
#include "tasks/question_settings.h"

namespace graft::tasks {

// A span of the context, [begin, end) in code points; both 0: no answer.
struct AnswerCandidate {
  float start_logit = 0, end_logit = 0;
  int32_t begin = 0, end = 0;
  float score() const { return start_logit + end_logit; }
  bool is_none() const { return begin == 0 && end == 0; }
};

// The tokens of the context in a window, and where each is in the context.
struct ContextTokens {
  int32_t begin = 0, count = 0;                          // the first one's place in the window
  const std::pair<int32_t, int32_t>* offsets = nullptr;  // [count]
};

class AnswerSearch {
 public:
  // Adds a window: `logits` [rows, 2], of which `length` rows from `first_row` are the window's. Windows of a
  // question are added in their order.
  void add(engine::Tensor logits, int64_t first_row, int32_t length, const ContextTokens& context,
           const QuestionSettings& settings);
  // The same with the results of another search, for windows behind those of this one.
  void add(const AnswerSearch& other, const QuestionSettings& settings);
  void add(const AnswerCandidate& candidate) { best_.push_back(candidate); }
  void set_none(const AnswerCandidate& none) { none_ = none; }

  // At most n_best_size, best first. Spans only.
  const std::vector<AnswerCandidate>& spans() const { return best_; }
  // "No answer" in the window where it is least likely.
  const AnswerCandidate& none() const { return none_; }
  // The spans, and with version_2_with_negative "no answer"; its place may be behind n_best_size.
  std::vector<AnswerCandidate> ranked(const QuestionSettings& settings) const;
  // The best span with a text: a token may be of no width. Null without one.
  const AnswerCandidate* best_span() const;
  // By how much "no answer" exceeds the best span; infinite without a span.
  double none_above_best() const;
  // The best span, or no answer.
  AnswerCandidate answer(const QuestionSettings& settings) const;

 private:
  void keep_best(const QuestionSettings& settings);
  std::vector<AnswerCandidate> best_;
  AnswerCandidate none_ = {std::numeric_limits<float>::infinity(), 0, 0, 0};
};

// Probabilities of candidates against each other.
std::vector<double> probabilities(const std::vector<AnswerCandidate>& candidates);

}  // namespace graft::tasks
