#include "tasks/question_metrics.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "tasks/answer_text.h"

namespace graft::tasks {
namespace {

constexpr double kNoQuestions = std::numeric_limits<double>::quiet_NaN();

// The mean in percent of a score over the questions that `counts` chooses.
template <class Counts>
double percent(const std::vector<ScoredQuestion>& questions, double ScoredQuestion::*score, Counts counts) {
  double sum = 0, n = 0;
  for (const ScoredQuestion& q : questions)
    if (counts(q)) sum += q.*score, ++n;
  return n > 0 ? 100 * sum / n : kNoQuestions;
}

// find_best_thresh of evaluate-v2.0.py: {best score in percent, threshold}. Questions are in the order of
// none_above_best.
std::pair<double, double> best_threshold(const std::vector<ScoredQuestion>& questions,
                                         double ScoredQuestion::*score) {
  double current = 0, best = 0, threshold = 0;
  for (const ScoredQuestion& q : questions) current += !q.has_answer;
  best = current;
  for (const ScoredQuestion& q : questions) {
    if (std::isinf(q.none_above_best)) break;  // no span: nothing is gained
    current += q.has_answer ? q.*score : -1;
    if (current > best) best = current, threshold = q.none_above_best;
  }
  return {questions.empty() ? kNoQuestions : 100 * best / static_cast<double>(questions.size()), threshold};
}

}  // namespace

void QuestionMetrics::add(const data::RaggedBatch& batch, engine::Tensor logits) {
  if (!features_) return;
  for (size_t e = 0; e < batch.examples.size(); ++e) {
    const auto sequence = static_cast<size_t>(batch.cu_examples[e]);
    const std::vector<int32_t>& rows = batch.outputs().cu_seqlens;
    const int64_t window = batch.examples[e];
    searches_[features_->question_of(window)].add(logits, rows[sequence], rows[sequence + 1] - rows[sequence],
                                                  features_->context_tokens(window), settings_);
  }
}

// For each question: its index, "no answer", the number of spans, the spans.
Partial QuestionMetrics::partial() const {
  Partial out;
  const auto put = [&](const AnswerCandidate& c) {
    out.insert(out.end(),
               {c.start_logit, c.end_logit, static_cast<double>(c.begin), static_cast<double>(c.end)});
  };
  for (const auto& [question, search] : searches_) {
    out.push_back(static_cast<double>(question));
    put(search.none());
    out.push_back(static_cast<double>(search.spans().size()));
    for (const AnswerCandidate& c : search.spans()) put(c);
  }
  return out;
}

void QuestionMetrics::merge(const Partial& part) {
  const auto take = [&](size_t& at) {
    const AnswerCandidate c = {static_cast<float>(part.at(at)), static_cast<float>(part.at(at + 1)),
                               static_cast<int32_t>(part.at(at + 2)), static_cast<int32_t>(part.at(at + 3))};
    at += 4;
    return c;
  };
  for (size_t at = 0; at < part.size();) {
    AnswerSearch& mine = searches_[static_cast<int64_t>(part[at++])];
    AnswerSearch other;
    other.set_none(take(at));
    for (auto n = static_cast<int64_t>(part.at(at++)); n > 0; --n) other.add(take(at));
    mine.add(other, settings_);
  }
}

MetricValues QuestionMetrics::values() const {
  std::vector<ScoredQuestion> questions;
  for (const auto& [question, search] : searches_) {
    const std::vector<std::string>& right = features_->answers(question);
    const std::string& context = features_->context(question);
    const auto score = [&](const AnswerCandidate& c) {
      return score_answer(code_points(context, c.begin, c.end), right, settings_);
    };
    const AnswerCandidate answer = search.answer(settings_);
    const AnswerScore scored = score(answer);
    ScoredQuestion q = {!right.empty(), scored.exact, scored.f1,
                        scored.exact,   scored.f1,    search.none_above_best()};
    if (const AnswerCandidate* best = search.best_span(); best && answer.is_none()) {
      const AnswerScore span = score(*best);
      q.span_exact = span.exact, q.span_f1 = span.f1;
    }
    questions.push_back(q);
  }
  if (settings_.version_2_with_negative) return version_2_values(std::move(questions));
  const auto all = [](const ScoredQuestion&) { return true; };
  return {{"exact_match", percent(questions, &ScoredQuestion::exact, all)},
          {"f1", percent(questions, &ScoredQuestion::f1, all)},
          {"total", static_cast<double>(questions.size())}};
}

std::vector<std::string> QuestionMetrics::names(const data::RaggedBatch& example) const {
  if (!settings_.version_2_with_negative) return Metrics::names(example);
  return names_of(version_2_values({{.has_answer = true}, {.has_answer = false}}));
}

MetricValues version_2_values(std::vector<ScoredQuestion> questions) {
  const auto all = [](const ScoredQuestion&) { return true; };
  const auto with = [](const ScoredQuestion& q) { return q.has_answer; };
  const auto without = [](const ScoredQuestion& q) { return !q.has_answer; };
  using Q = ScoredQuestion;
  MetricValues out = {{"exact", percent(questions, &Q::exact, all)},
                      {"f1", percent(questions, &Q::f1, all)},
                      {"total", static_cast<double>(questions.size())}};
  const auto part = [&](const std::string& name, const auto& counts) {
    const auto n = std::count_if(questions.begin(), questions.end(), counts);
    if (n == 0) return;
    out.emplace_back(name + "_exact", percent(questions, &Q::exact, counts));
    out.emplace_back(name + "_f1", percent(questions, &Q::f1, counts));
    out.emplace_back(name + "_total", static_cast<double>(n));
  };
  part("HasAns", with);
  part("NoAns", without);
  std::stable_sort(questions.begin(), questions.end(),
                   [](const Q& a, const Q& b) { return a.none_above_best < b.none_above_best; });
  const auto [exact, exact_threshold] = best_threshold(questions, &Q::span_exact);
  const auto [f1, f1_threshold] = best_threshold(questions, &Q::span_f1);
  out.insert(out.end(), {{"best_exact", exact},
                         {"best_exact_thresh", exact_threshold},
                         {"best_f1", f1},
                         {"best_f1_thresh", f1_threshold}});
  return out;
}

}  // namespace graft::tasks
