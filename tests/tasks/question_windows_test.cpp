// Windows, labels and checks of questions; choices as sequences.
#include "tasks/question_windows.h"

#include "tasks/multiple_choice.h"
#include "tasks/question_checks.h"
#include "train/tiny_run.h"

namespace graft::tasks {
namespace {
using namespace graft::test;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

Example asked(const std::string& text, const std::string& context, std::vector<AnswerSpan> answers) {
  Example e;
  e.id = "q" + std::to_string(context.size());
  e.line = 3;
  e.text = text;
  e.text_pair = context;
  e.has_pair = true;
  e.answers = std::move(answers);
  return e;
}

QuestionSettings small_windows() {
  QuestionSettings s;
  s.max_seq_length = 8;
  s.doc_stride = 2;
  return s;
}

TEST(QuestionSettings, TheDefaultStrideFitsAShortWindow) {
  QuestionSettings s;
  EXPECT_EQ(s.stride(), 128);
  s.max_seq_length = 128;
  EXPECT_EQ(s.stride(), 64);
  s.doc_stride = 200;
  EXPECT_EQ(s.stride(), 200);  // asked for: an error where it is used
}

TEST(CodePoints, CountCharactersNotBytes) {
  EXPECT_EQ(code_points("Zoë sang 東京.", 2, 3), "ë");
  EXPECT_EQ(code_points("Zoë sang 東京.", 9, 11), "東京");
  EXPECT_EQ(code_points("Zoë", 1, 9), "oë");
  EXPECT_EQ(code_points("Zoë", 3, 5), "");
  EXPECT_EQ(code_points("Zoë", 2, 2), "");
}

// [CLS] up [SEP] four of the context [SEP]; windows share two tokens. An answer that is not in the window is
// at [CLS].
TEST(QuestionFeatures, LabelsAreTheTokensOfTheAnswerInEachWindow) {
  const TinyRun run;
  const QuestionFeatures features(
      {asked("  up", "ba be bi bo bu da", {{"bi bo", 6}}), asked("up", "ba be", {})}, "", *run.tokenizer(),
      small_windows(), true);
  data::RaggedBatch batch;
  for (int64_t i = 0; i < features.size(); ++i) features.append(batch, i, i, 0);
  ASSERT_EQ(features.size(), 3);
  EXPECT_EQ(features.question_of(1), 0);
  EXPECT_EQ(features.question_of(2), 1);
  EXPECT_THAT(batch.start_positions, ElementsAre(5, 3, 0));
  EXPECT_THAT(batch.end_positions, ElementsAre(6, 4, 0));
  EXPECT_EQ(features.num_with_answer(), 2);
  EXPECT_EQ(batch.input_ids[5], *run.tokenizer()->token_to_id("bi"));
  const ContextTokens second = features.context_tokens(1);
  EXPECT_EQ(second.begin, 3);
  EXPECT_EQ(second.count, 4);
  EXPECT_EQ(second.offsets[0], (std::pair<int32_t, int32_t>{6, 8}));
}

// Where the answer is cut by the window's edge it is not in the window.
TEST(QuestionFeatures, AnAnswerThatIsCutIsNotThere) {
  const TinyRun run;
  const QuestionFeatures features({asked("up", "ba be bi bo bu da", {{"bo bu da", 9}})}, "", *run.tokenizer(),
                                  small_windows(), false);
  data::RaggedBatch batch;
  for (int64_t i = 0; i < features.size(); ++i) features.append(batch, i, i, 0);
  EXPECT_THAT(batch.start_positions, ElementsAre(0, 4));
  EXPECT_THAT(batch.end_positions, ElementsAre(0, 6));  // the last token before [SEP]
}

TEST(QuestionFeatures, AQuestionThatFillsTheWindowIsAnError) {
  const TinyRun run;
  for (const char* question : {"ba be bi bo", "ba be bi bo bu da de di do up"})
    EXPECT_THAT(error_of([&] {
                  QuestionFeatures({asked(question, "ba be bi bo bu da", {})}, "f.json", *run.tokenizer(),
                                   small_windows(), true);
                }),
                AllOf(HasSubstr("f.json: line 3: question 1 (id q17)"), HasSubstr("of max_seq_length 8"),
                      HasSubstr("--doc_stride")));
}

std::string complaint(const std::vector<Example>& questions, const QuestionSettings& settings) {
  return error_of([&] { checked_questions("train", Dataset(questions, "f.json"), settings); });
}

TEST(CheckedQuestions, AnAnswerThatIsElsewhereIsAnErrorWithPlaceIdAndCount) {
  QuestionSettings s;
  const std::vector<Example> rows = {asked("up", "Zoë met Ann", {{"Ann", 8}}),
                                     asked("up", "Zoë met Bob", {{"Bob", 9}}),  // an offset of bytes
                                     asked("up", "Zoë met Bob.", {{"Bob", -1}, {"met", 4}}),
                                     asked("up", "Zoë met Bob..", {{"Bob..!", 8}})};
  EXPECT_THAT(
      complaint(rows, s),
      AllOf(HasSubstr("f.json: line 3: question 2 (id q12)"), HasSubstr("'Bob' is not at 9: there is 'ob'"),
            HasSubstr("3 of 5 answers"), HasSubstr("code points"), HasSubstr("--drop_bad_answers")));
  s.drop_bad_answers = true;
  const std::vector<Example> kept = checked_questions("train", Dataset(rows, "f.json"), s);
  ASSERT_EQ(kept.size(), 2u);  // a question that keeps an answer stays
  EXPECT_EQ(kept[1].answers.front().text, "met");
}

TEST(CheckedQuestions, QuestionsWithoutAnAnswerNeedVersion2) {
  QuestionSettings s;
  const std::vector<Example> rows = {asked("up", "Ann", {{"Ann", 0}}), asked("up", "Bob", {}),
                                     asked("up", "Eve", {{"", 0}})};
  EXPECT_THAT(complaint(rows, s), AllOf(HasSubstr("question 2"), HasSubstr("2 of 3 questions"),
                                        HasSubstr("--version_2_with_negative")));
  s.version_2_with_negative = true;
  const std::vector<Example> kept = checked_questions("train", Dataset(rows, "f.json"), s);
  ASSERT_EQ(kept.size(), 3u);
  EXPECT_TRUE(kept[2].answers.empty());
}

TEST(CheckedQuestions, AnEmptyQuestionOrContextIsAnError) {
  EXPECT_THAT(complaint({asked(" \u00A0", "Ann", {{"Ann", 0}})}, {}), HasSubstr("the question is empty"));
  EXPECT_THAT(complaint({asked("up", "", {})}, {}), HasSubstr("the context is empty"));
}

TEST(ChoiceFeatures, TakeAnyNumberOfChoicesPerRow) {
  const TinyRun run;
  Example a, b;
  a.text = "ba be", a.text_pair = "up", a.choices = {"red", "green bo", "blue"}, a.labels = {"2"};
  b.text = "da", b.choices = {"red", "green"}, b.labels = {"0"};
  a.has_pair = b.has_pair = true;
  const ChoiceFeatures features(Dataset({a, b}), *run.tokenizer(), 40);
  ASSERT_EQ(features.size(), 2);
  data::RaggedBatch batch;
  features.append(batch, 0, 0, 0);
  features.append(batch, 1, 1, 0);
  EXPECT_EQ(batch.num_examples(), 2);
  EXPECT_THAT(batch.cu_examples, ElementsAre(0, 3, 5));
  EXPECT_THAT(batch.labels, ElementsAre(2, 0));
  EXPECT_EQ(features.length(0), 7 + 8 + 7);
  EXPECT_EQ(batch.input_ids[4], *run.tokenizer()->token_to_id("up"));  // before the choice
  EXPECT_EQ(batch.token_type_ids[4], 1);
  MultipleChoice task;
  const auto metrics = task.metrics();
  std::vector<float> logits = {0, 1, 5, 3, 3};
  metrics->add(batch, engine::make_tensor(logits.data(), 5, 1));
  EXPECT_EQ(value_of(metrics->values(), "accuracy"), 1);  // of equal scores the first
}

}  // namespace
}  // namespace graft::tasks
