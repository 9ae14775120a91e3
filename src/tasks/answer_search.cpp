#include "tasks/answer_search.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace graft::tasks {
namespace {

// The rows of the `count` largest logits of a column, best first; of equals the first.
std::vector<int32_t> largest_rows(engine::Tensor logits, int64_t first_row, int32_t length, int64_t column,
                                  int32_t count) {
  std::vector<int32_t> rows(static_cast<size_t>(length));
  std::iota(rows.begin(), rows.end(), 0);
  const auto middle = rows.begin() + std::min(length, count);
  std::partial_sort(rows.begin(), middle, rows.end(), [&](int32_t a, int32_t b) {
    const float x = logits.row(first_row + a)[column], y = logits.row(first_row + b)[column];
    return x != y ? x > y : a < b;
  });
  rows.erase(middle, rows.end());
  return rows;
}

}  // namespace

void AnswerSearch::keep_best(const QuestionSettings& settings) {
  std::stable_sort(best_.begin(), best_.end(),
                   [](const AnswerCandidate& a, const AnswerCandidate& b) { return a.score() > b.score(); });
  if (best_.size() > static_cast<size_t>(settings.n_best_size))
    best_.resize(static_cast<size_t>(settings.n_best_size));
}

void AnswerSearch::add(engine::Tensor logits, int64_t first_row, int32_t length, const ContextTokens& context,
                       const QuestionSettings& settings) {
  const float* first = logits.row(first_row);
  if (const AnswerCandidate none = {first[0], first[1], 0, 0}; none.score() < none_.score()) none_ = none;
  const std::vector<int32_t> ends = largest_rows(logits, first_row, length, 1, settings.n_best_size);
  const auto is_context = [&](int32_t row) {
    return row >= context.begin && row < context.begin + context.count;
  };
  for (const int32_t start : largest_rows(logits, first_row, length, 0, settings.n_best_size)) {
    for (const int32_t end : ends) {
      if (!is_context(start) || !is_context(end) || end < start ||
          end - start + 1 > settings.max_answer_length)
        continue;
      best_.push_back({logits.row(first_row + start)[0], logits.row(first_row + end)[1],
                       context.offsets[start - context.begin].first,
                       context.offsets[end - context.begin].second});
    }
  }
  keep_best(settings);
}

void AnswerSearch::add(const AnswerSearch& other, const QuestionSettings& settings) {
  if (other.none_.score() < none_.score()) none_ = other.none_;
  best_.insert(best_.end(), other.best_.begin(), other.best_.end());
  keep_best(settings);
}

std::vector<AnswerCandidate> AnswerSearch::ranked(const QuestionSettings& settings) const {
  if (!settings.version_2_with_negative) return best_;
  AnswerSearch all = *this;
  all.best_.push_back(none_);
  all.keep_best(settings);
  if (std::none_of(all.best_.begin(), all.best_.end(), [](const AnswerCandidate& c) { return c.is_none(); }))
    all.best_.push_back(none_);
  return all.best_;
}

const AnswerCandidate* AnswerSearch::best_span() const {
  const auto at =
      std::find_if(best_.begin(), best_.end(), [](const AnswerCandidate& c) { return c.begin < c.end; });
  return at == best_.end() ? nullptr : &*at;
}

double AnswerSearch::none_above_best() const {
  const AnswerCandidate* span = best_span();
  return span ? double{none_.score()} - span->start_logit - span->end_logit
              : std::numeric_limits<double>::infinity();
}

AnswerCandidate AnswerSearch::answer(const QuestionSettings& settings) const {
  if (!settings.version_2_with_negative) return best_.empty() ? none_ : best_.front();
  return none_above_best() > settings.null_score_diff_threshold ? none_ : *best_span();
}

std::vector<double> probabilities(const std::vector<AnswerCandidate>& candidates) {
  std::vector<double> out;
  double sum = 0;
  for (const AnswerCandidate& c : candidates)
    sum += out.emplace_back(std::exp(double{c.score()} - candidates.front().score()));
  for (double& p : out) p /= sum;
  return out;
}

}  // namespace graft::tasks
