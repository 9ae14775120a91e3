// Compares answers as the official scripts do: SQuAD v1.1 and v2.0 (Rajpurkar et al. 2016, 2018) for English,
// MLQA (Lewis et al. 2020) for other languages.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "tasks/question_settings.h"

namespace graft::tasks {

// The words that are compared: lower case, without punctuation (English: of ASCII; else of all Unicode),
// without articles, cut at white space; Chinese characters are words. `language`: one of answer_languages().
std::vector<std::string> answer_words(std::string_view text, const std::string& language);

// 0 or 1, and the F1 of the words.
struct AnswerScore {
  double exact = 0, f1 = 0;
};
// The best over the right answers, as evaluate-v1.1.py; for `version_2` as evaluate-v2.0.py, where "" is
// right for a question whose answers have no words.
AnswerScore score_answer(std::string_view answer, const std::vector<std::string>& right,
                         const QuestionSettings& settings);

}  // namespace graft::tasks
