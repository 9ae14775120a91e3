// Whether the questions of a set can be used: texts, answers and their places.
#pragma once
#include <string>
#include <vector>

#include "graft/dataset.h"
#include "tasks/question_settings.h"

namespace graft::tasks {

// The questions of a set that can be used, with their answers checked: each answer is where its offset says
// (settings.drop_bad_answers: others are left out), a question has an answer unless version_2_with_negative
// is set, and neither question nor context is empty. `part` is the prefix of warnings. Throws Error with
// file, place and id.
std::vector<Example> checked_questions(const std::string& part, const Dataset& dataset,
                                       const QuestionSettings& settings);

}  // namespace graft::tasks
