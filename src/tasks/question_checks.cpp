#include "tasks/question_checks.h"

#include "base/error.h"
#include "base/log.h"
#include "base/shown.h"
#include "base/utf8.h"
#include "tasks/question_windows.h"

namespace graft::tasks {
namespace {

// What is wrong in a set, with the first place.
struct Complaints {
  int64_t bad_answers = 0, answers = 0, without_answer = 0;
  std::string first_bad, first_without;
};

// Leaves the answers that are where their offset says.
void check_answers(Example& e, const std::string& place, Complaints& complaints) {
  std::vector<AnswerSpan> good;
  for (AnswerSpan& a : e.answers) {
    if (a.text.empty()) continue;  // no answer
    ++complaints.answers;
    const std::string found =
        a.start < 0 ? ""
                    : code_points(e.text_pair, a.start, a.start + static_cast<int64_t>(utf8::length(a.text)));
    if (found == a.text) {
      good.push_back(std::move(a));
      continue;
    }
    if (complaints.bad_answers++ == 0)
      complaints.first_bad = fmt::format("{}: the answer '{}' is not at {}: there is '{}'", place,
                                         shown(a.text), a.start, shown(found));
  }
  e.answers = std::move(good);
}

}  // namespace

std::vector<Example> checked_questions(const std::string& part, const Dataset& dataset,
                                       const QuestionSettings& settings) {
  std::vector<Example> kept;
  Complaints complaints;
  int64_t dropped = 0;
  for (size_t i = 0; i < dataset.size(); ++i) {
    Example e = dataset[i];
    const std::string place = question_place(dataset.origin(), e, i);
    e.text = without_leading_space(e.text);
    for (const auto& [text, name] : {std::pair{&e.text, "question"}, {&e.text_pair, "context"}})
      if (is_blank(*text)) fail_with("write it, or remove the row", "{}: the {} is empty", place, name);
    const int64_t bad = complaints.bad_answers;
    check_answers(e, place, complaints);
    if (e.answers.empty() && complaints.bad_answers > bad && settings.drop_bad_answers) {
      ++dropped;
      continue;
    }
    if (e.answers.empty() && complaints.bad_answers == bad && complaints.without_answer++ == 0)
      complaints.first_without = place;
    kept.push_back(std::move(e));
  }
  if (complaints.bad_answers > 0 && !settings.drop_bad_answers)
    fail_with(
        "offsets count Unicode code points of the context; --drop_bad_answers true leaves such answers out",
        "{}; {} of {} answers are not where their offset says", complaints.first_bad, complaints.bad_answers,
        complaints.answers);
  if (complaints.without_answer > 0 && !settings.version_2_with_negative)
    fail_with("--version_2_with_negative true is for data with questions that have no answer",
              "{}: no answer, or an empty one; {} of {} questions have none", complaints.first_without,
              complaints.without_answer, dataset.size());
  if (complaints.bad_answers > 0)
    log_warning("{}: {} of {} answers left out, and with them {} questions: {}", part, complaints.bad_answers,
                complaints.answers, dropped, complaints.first_bad);
  if (kept.empty()) fail("{}: no question is left", dataset.origin().empty() ? part : dataset.origin());
  return kept;
}

}  // namespace graft::tasks
