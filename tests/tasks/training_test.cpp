// Every kind of task learns: tiny models from random weights overfit small generated data, and labels that do
// not fit are refused with file and line.
#include "models/model_case.h"
#include "train/tiny_run.h"

namespace graft::tasks {
namespace {
using namespace graft::test;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

const std::vector<std::string> kColours = {"blue", "green", "red"};

// 64 examples, trained until they are known by heart.
TrainResult overfit(const TinyRun& run, Model model, const Dataset& data, int64_t steps) {
  TrainingArguments a = run.arguments();
  a.per_device_train_batch_size = 16;
  a.max_steps = steps;
  a.warmup_ratio = 0.1;
  a.do_eval = true;
  Trainer trainer(std::move(model), a, {data, data, run.tokenizer()});
  return trainer.train();
}

class Overfit : public testing::TestWithParam<const char*> {};

TEST_P(Overfit, SingleLabel) {
  const TinyRun run;
  const Dataset data = Dataset::from_file(run.single_csv("train.csv", 64, 1));
  const TrainResult r =
      overfit(run, run.model("sequence-classification", kColours, 0, GetParam()), data, 100);
  EXPECT_LT(value_of(r.metrics, "eval_loss"), 0.05);
  EXPECT_EQ(value_of(r.metrics, "eval_accuracy"), 1);
  EXPECT_EQ(read_json(run / "out/config.json")["problem_type"], "single_label_classification");
}

TEST_P(Overfit, MultiLabel) {
  const TinyRun run;
  const Dataset data = Dataset::from_file(run.multi_jsonl("train.jsonl", 64, 1));
  const TrainResult r =
      overfit(run, run.model("sequence-classification", kColours, 0, GetParam()), data, 120);
  EXPECT_LT(value_of(r.metrics, "eval_loss"), 0.1);
  EXPECT_GT(value_of(r.metrics, "eval_f1_micro"), 0.97);
  EXPECT_EQ(read_json(run / "out/config.json")["problem_type"], "multi_label_classification");
}

TEST_P(Overfit, Regression) {
  const TinyRun run;
  const Dataset data = Dataset::from_file(run.score_csv("train.csv", 64, 1));
  const TrainResult r =
      overfit(run, run.model("sequence-classification", {"LABEL_0"}, 0, GetParam()), data, 200);
  EXPECT_LT(value_of(r.metrics, "eval_loss"), 0.02);  // the scores' variance is 0.15
  EXPECT_GT(value_of(r.metrics, "eval_pearson"), 0.95);
  EXPECT_NEAR(value_of(r.metrics, "eval_mse"), value_of(r.metrics, "eval_loss"), 1e-6);
  EXPECT_EQ(read_json(run / "out/config.json")["problem_type"], "regression");
}

TEST_P(Overfit, MaskedLmLowersItsLoss) {
  const TinyRun run;
  const auto train = run.text("train.txt", 200, 1), eval = run.text("eval.txt", 40, 2);
  TrainingArguments a = run.arguments();
  a.per_device_train_batch_size = 32;
  a.max_steps = 150;
  a.learning_rate = 5e-3;
  a.line_by_line = true;
  Trainer trainer(run.model("masked-lm", {}, 0, GetParam()), a,
                  TaskData::text({train}, {eval}, run.tokenizer()));
  const double before = value_of(trainer.evaluate(), "eval_loss");
  trainer.train();
  const double after = value_of(trainer.evaluate(), "eval_loss");
  EXPECT_GT(before, 3.5);  // log 50 = 3.9 is a guess
  EXPECT_LT(after, 2.8);   // who knows the 40 words but not the neighbours gets 3.7
}

INSTANTIATE_TEST_SUITE_P(Architectures, Overfit, testing::Values("bert", "roberta", "distilbert"));

// A run keeps what the test set of a task needs: the saved folder predicts as the trained model did.
TEST(Learning, GeneralizesToNewSentences) {
  const TinyRun run;
  const Dataset train = Dataset::from_file(run.single_csv("train.csv", 200, 1));
  const Dataset test = Dataset::from_file(run.single_csv("test.csv", 60, 2));
  TrainingArguments a = run.arguments();
  a.num_train_epochs = 5;
  a.do_eval = true;
  Trainer trainer(run.model("sequence-classification", kColours, 0.1), a, {train, test, run.tokenizer()});
  EXPECT_GT(value_of(trainer.train().metrics, "eval_accuracy"), 0.9);
}

TEST(Labels, OneThatOnlyEvaluationHasIsNamedWithItsLine) {
  const TinyRun run;
  const Dataset train = Dataset::from_file(run.single_csv("train.csv", 9, 1));
  const Dataset eval =
      Dataset::from_file(run.dir().write("eval.csv", "text,label\nba red,red\nbe bi,purple\n"));
  EXPECT_THAT(error_of([&] {
                Trainer(run.model("sequence-classification", kColours), run.arguments(),
                        {train, eval, run.tokenizer()});
              }),
              AllOf(HasSubstr("eval.csv"), HasSubstr("line 3"), HasSubstr("purple"), HasSubstr("green")));
}

TEST(Labels, OfTheModelAreKeptInTheirOrder) {
  const TinyRun run;
  const Dataset train = Dataset::from_file(run.single_csv("train.csv", 12, 1));
  TrainingArguments a = run.arguments();
  a.max_steps = 1;
  Trainer(run.model("sequence-classification", {"red", "blue", "green"}), a, {train, {}, run.tokenizer()})
      .train();
  EXPECT_THAT(load_model(run / "out").labels(), ElementsAre("red", "blue", "green"));
}

TEST(Labels, ThatTheModelDoesNotKnowAreRefused) {
  const TinyRun run;
  const Dataset train = Dataset::from_file(run.single_csv("train.csv", 12, 1));
  EXPECT_THAT(error_of([&] {
                Trainer(run.model("sequence-classification", {"yes", "no"}), run.arguments(),
                        {train, {}, run.tokenizer()});
              }),
              AllOf(HasSubstr("train.csv"), HasSubstr("yes")));
}

}  // namespace
}  // namespace graft::tasks
