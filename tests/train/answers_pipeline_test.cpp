// QuestionAnswerer and MultipleChoicePipeline: results of any batch, options, and errors of one row.
#include <algorithm>

#include "graft/multiple_choice.h"
#include "graft/question_answering.h"
#include "models/model_case.h"
#include "train/tiny_run.h"

namespace graft::train {
namespace {

using namespace graft::test;
using testing::AllOf;
using testing::HasSubstr;

class AnswersPipeline : public testing::Test {
 protected:
  // A folder as Python writes it: without training arguments.
  std::filesystem::path folder(const std::string& task) const {
    run_.model(task, {}).save_pretrained(run_ / task);
    run_.tokenizer()->save(run_ / task);
    return run_ / task;
  }
  PipelineOptions options(int batch_size) const {
    PipelineOptions o;
    o.batch_size = batch_size;
    o.max_seq_length = 12;
    return o;
  }
  TinyRun run_;
  const std::vector<std::string> questions_ = {"up", "down ba", " up"},
                                 contexts_ = {"ba be bi bo bu da de di do du fa fe fi", "red",
                                              "green blue ba"};
};

TEST_F(AnswersPipeline, AnswersDoNotDependOnTheBatch) {
  const auto path = folder("question-answering");
  QuestionOptions question;
  question.doc_stride = 3;
  const QuestionAnswerer one(path, options(1), question), many(path, options(32), question);
  const auto a = one.answer(questions_, contexts_), b = many.answer(questions_, contexts_);
  ASSERT_EQ(a.size(), 3u);
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].answer, b[i].answer);
    EXPECT_EQ(a[i].score, b[i].score);
    EXPECT_EQ(a[i].n_best.size(), b[i].n_best.size());
    EXPECT_EQ(
        contexts_[i].substr(static_cast<size_t>(a[i].start), static_cast<size_t>(a[i].end - a[i].start)),
        a[i].answer);
    EXPECT_FALSE(a[i].answer.empty());
    EXPECT_EQ(a[i].score, a[i].n_best.front().score);
  }
  EXPECT_EQ(a[2].answer,
            one.answer({"up"}, {contexts_[2]})[0].answer);  // white space before a question is nothing
}

TEST_F(AnswersPipeline, OptionsChangeTheSearch) {
  const auto path = folder("question-answering");
  QuestionOptions question;
  question.doc_stride = 3;
  question.max_answer_length = 1;
  const QuestionAnswer a = QuestionAnswerer(path, options(8), question).answer(questions_, contexts_)[0];
  EXPECT_GT(a.n_best.size(), 5u);
  for (const FoundAnswer& found : a.n_best) EXPECT_EQ(found.end - found.start, 2);  // a word
  question.version_2_with_negative = true;
  question.null_score_diff_threshold = a.none_above_best - 0.1;
  const QuestionAnswer none = QuestionAnswerer(path, options(8), question).answer(questions_, contexts_)[0];
  EXPECT_EQ(none.answer, "");
  EXPECT_EQ(none.end, 0);
  question.null_score_diff_threshold = a.none_above_best + 0.1;
  EXPECT_EQ(QuestionAnswerer(path, options(8), question).answer(questions_, contexts_)[0].answer, a.answer);
  question.n_best_size = 3;
  EXPECT_LE(QuestionAnswerer(path, options(8), question).answer(questions_, contexts_)[0].n_best.size(), 4u);
  question.n_best_size = 0;
  EXPECT_THAT(error_of([&] { QuestionAnswerer(path, options(8), question); }), HasSubstr("n_best_size"));
}

TEST_F(AnswersPipeline, SaysWhichQuestionIsWrong) {
  QuestionOptions question;
  question.doc_stride = 3;
  const QuestionAnswerer p(folder("question-answering"), options(8), question);
  EXPECT_THAT(error_of([&] {
                p.answer({"up", "up"}, {"ba", " "});
              }),
              AllOf(HasSubstr("text 2 of 2"), HasSubstr("the context is empty")));
  EXPECT_THAT(error_of([&] { p.answer({""}, {"ba"}); }), HasSubstr("the question is empty"));
  EXPECT_THAT(error_of([&] { p.answer({"up"}, {}); }), HasSubstr("1 questions but 0 contexts"));
  EXPECT_THAT(error_of([&] { p.answer({"ba be bi bo bu da de di"}, {contexts_[0]}); }),
              AllOf(HasSubstr("the question has 11 tokens"), HasSubstr("leaves 1 of max_seq_length 12")));
  EXPECT_THAT(error_of([&] { QuestionAnswerer(folder("multiple-choice")); }),
              HasSubstr("BertForMultipleChoice"));
}

TEST_F(AnswersPipeline, ChoicesOfAnyNumberAndBatch) {
  const auto path = folder("multiple-choice");
  const MultipleChoicePipeline one(path, options(1)), many(path, options(8));
  const std::vector<ChoiceQuestion> rows = {{"ba be", "up", {"red", "green", "blue"}},
                                            {"", "bo", {"ba", "be"}}};
  const auto a = one.predict(rows), b = many.predict(rows);
  ASSERT_EQ(a.size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(a[i].scores, b[i].scores);
    EXPECT_EQ(a[i].scores.size(), rows[i].choices.size());
    EXPECT_EQ(a[i].text, rows[i].choices[static_cast<size_t>(a[i].choice)]);
    EXPECT_EQ(a[i].score, *std::max_element(a[i].scores.begin(), a[i].scores.end()));
  }
  EXPECT_EQ(one.num_truncated(), 0);
  EXPECT_THAT(error_of([&] {
                one.predict({rows[0], {"", "bo", {"ba"}}});
              }),
              AllOf(HasSubstr("text 2 of 2"), HasSubstr("1 choice")));
  one.predict({{"ba be bi bo bu da de", "up up up up", {"red", "green"}}});
  EXPECT_EQ(one.num_truncated(), 1);
}

}  // namespace
}  // namespace graft::train
