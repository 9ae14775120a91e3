// The best model beside the last one, and early stopping.
#include "train/best_model.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "models/model_case.h"
#include "train/checkpoint.h"
#include "train/manifest.h"
#include "train/resume_run.h"

namespace graft::train {
namespace {
namespace fs = std::filesystem;

using namespace graft::test;
using testing::AllOf;
using testing::HasSubstr;

// transformers' EarlyStoppingCallback and Trainer._determine_best_metric, by hand.
TEST(BestModel, ComparesAsTheReference) {
  TrainingArguments a;
  a.eval_strategy = "steps";
  a.metric_for_best_model = "accuracy";
  a.early_stopping_patience = 2;
  a.early_stopping_threshold = 0.1;
  TrainState state;
  BestModel best(a, state);
  struct Row {
    double value;
    bool improves;
    int64_t without_gain;
  };
  for (const Row& row : std::vector<Row>{{0.5, true, 0},
                                         {0.7, true, 0},
                                         {0.75, true, 1},
                                         {0.9, true, 0},
                                         {NAN, false, 1},
                                         {0.8, false, 2}}) {
    ++state.step;
    EXPECT_EQ(best.improves({{"eval_loss", 1}, {"eval_accuracy", row.value}}), row.improves) << row.value;
    EXPECT_EQ(state.evaluations_without_gain, row.without_gain) << row.value;
  }
  EXPECT_EQ(state.best_metric, 0.9);
  EXPECT_EQ(state.best_step, 4);
  EXPECT_TRUE(best.out_of_patience());
}

TEST(BestModel, LossesAndErrorsShouldBecomeSmaller) {
  for (const auto& [metric, grows] : {std::pair{"loss", false},
                                      {"eval_loss", false},
                                      {"rmse", false},
                                      {"perplexity", false},
                                      {"f1_macro", true}}) {
    TrainingArguments a;
    a.eval_strategy = "epoch";
    a.metric_for_best_model = metric;
    TrainState state;
    BestModel best(a, state);
    const std::string name = best.metric();
    best.improves({{name, 1}});
    EXPECT_EQ(best.improves({{name, 2}}), grows) << metric;
    a.greater_is_better = !grows;
    TrainState other;
    BestModel asked(a, other);
    asked.improves({{name, 1}});
    EXPECT_EQ(asked.improves({{name, 2}}), !grows) << metric;
  }
}

class Best : public testing::Test {
 protected:
  TrainingArguments arguments() const {
    TrainingArguments a = run_.arguments("out");
    a.max_steps = 12;
    a.eval_strategy = "steps";
    a.eval_steps = 2;
    a.learning_rate = 0.1;  // it does not converge: the best is not the last
    a.save_strategy = "no";
    return a;
  }
  ResumeRun run_;
};

TEST_F(Best, IsAFolderOfItsOwnAndMayBeTheOutput) {
  TrainingArguments a = arguments();
  a.metric_for_best_model = "eval_loss";
  std::vector<std::pair<double, std::vector<float>>> seen;
  Trainer trainer = run_.trainer(a);
  Observer observer;
  observer.on_evaluate = [&](const LogEntry& metrics, int64_t) {
    seen.emplace_back(value_of(metrics, "eval_loss"), all_values(trainer.parts().model));
  };
  trainer.train(observer);
  const auto best = std::min_element(seen.begin(), seen.end(),
                                     [](const auto& x, const auto& y) { return x.first < y.first; });
  ASSERT_NE(best, seen.end() - 1);
  verified_manifest(run_ / "out/best");
  EXPECT_TRUE(same_bits(all_values(load_model(run_ / "out/best")), best->second));
  EXPECT_TRUE(same_bits(all_values(load_model(run_ / "out")), seen.back().second));
  EXPECT_FALSE(fs::exists(run_ / "out/best/optimizer.safetensors"));

  a.load_best_model_at_end = true;
  a.metric_for_best_model = "";
  TrainResult result;
  const std::string log = log_of_run([&] { result = run_.trainer(a).train(); });
  const int64_t step = 2 * (best - seen.begin() + 1);
  EXPECT_THAT(log, HasSubstr(fmt::format("the output is the model of step {}, the best by eval_loss", step)));
  EXPECT_TRUE(same_bits(all_values(load_model(run_ / "out")), best->second));
  EXPECT_EQ(value_of(result.metrics, "eval_loss"), best->first);
}

// One of several evaluation sets may decide.
TEST_F(Best, IsChosenByANamedSet) {
  TrainingArguments a = arguments();
  a.metric_for_best_model = "eval_other_loss";
  a.load_best_model_at_end = true;
  const TinyRun& run = run_.run();
  TaskData data{Dataset::from_file(run.single_csv("train.csv", 19, 1)), {}, run.tokenizer()};
  data.eval_sets = {{"same", data.train}, {"other", Dataset::from_file(run.single_csv("eval.csv", 11, 2))}};
  double best = 1e9;
  int64_t best_step = 0;
  Trainer trainer(run.model("sequence-classification", {"blue", "green", "red"}, 0.1), a, data);
  Observer observer;
  observer.on_evaluate = [&](const LogEntry& metrics, int64_t step) {
    const double loss = value_of(metrics, "eval_other_loss");
    EXPECT_TRUE(std::isfinite(value_of(metrics, "eval_same_loss")));
    if (loss < best) best = loss, best_step = step;
  };
  const std::string log = log_of_run([&] { trainer.train(observer); });
  EXPECT_THAT(log, HasSubstr(fmt::format("the output is the model of step {}, the best by eval_other_loss",
                                         best_step)));
}

TEST_F(Best, IsNotDeletedByALimit) {
  TrainingArguments a = arguments();
  a.load_best_model_at_end = true;
  a.save_strategy = "steps";
  a.save_steps = 2;
  a.save_total_limit = 1;
  run_.trainer(a).train();
  EXPECT_EQ(checkpoints_in(run_ / "out"), (std::vector<int64_t>{12}));
  verified_manifest(run_ / "out/best");
}

TEST_F(Best, AloneIsResumedFrom) {
  TrainingArguments a = arguments();
  a.save_strategy = "best";
  run_.trainer(a).train();
  EXPECT_TRUE(fs::exists(run_ / "out/best/optimizer.safetensors"));
  EXPECT_TRUE(checkpoints_in(run_ / "out").empty());
  a.resume_from_checkpoint = "true";
  EXPECT_THAT(log_of_run([&] { run_.trainer(a).train(); }),
              HasSubstr("resumed from " + a.output_dir + "/best"));
}

TEST_F(Best, AnUnknownMetricIsAnErrorWithTheList) {
  TrainingArguments a = arguments();
  a.metric_for_best_model = "acuracy";
  int64_t steps = 0;
  const auto train = [&] { run_.trainer(a).train({.on_step = [&](const TrainProgress&) { ++steps; }}); };
  EXPECT_THAT(error_of(train),
              AllOf(HasSubstr("the evaluation has no eval_acuracy; it has: eval_loss, eval_accuracy"),
                    HasSubstr("did you mean eval_accuracy?")));
  EXPECT_THROW(train(), UsageError);
  a.metric_for_best_model = "pearson";  // of another kind of labels
  EXPECT_THAT(error_of(train), AllOf(HasSubstr("no eval_pearson"), HasSubstr("name one of them")));
  a.metric_for_best_model = "accuracy";
  a.prediction_loss_only = true;
  EXPECT_THAT(error_of(train), HasSubstr("it has: eval_loss, eval_samples"));
  a.metric_for_best_model = "acuracy";
  a.lr_scheduler_type = "reduce_lr_on_plateau";  // follows it too
  EXPECT_THAT(error_of(train), HasSubstr("no eval_acuracy"));
  EXPECT_EQ(steps, 0);
  a.eval_strategy = "no";  // nothing is compared
  a.lr_scheduler_type = "linear";
  train();
  EXPECT_EQ(steps, 12);
}

// The loss decides by default, and sets with names have a loss each.
TEST_F(Best, OfNamedSetsNeedsAMetric) {
  TrainingArguments a = arguments();
  a.load_best_model_at_end = true;
  const TinyRun& run = run_.run();
  TaskData data{Dataset::from_file(run.single_csv("train.csv", 19, 1)), {}, run.tokenizer()};
  data.eval_sets = {{"same", data.train}};
  Trainer trainer(run.model("sequence-classification", {"blue", "green", "red"}), a, data);
  EXPECT_THAT(
      error_of([&] { trainer.train(); }),
      AllOf(HasSubstr("eval_loss decides which model is the best, and the evaluation has no eval_loss; it "
                      "has: eval_same_loss"),
            HasSubstr("--metric_for_best_model")));
}

// The output, its metrics and the step in the results are of one model.
TEST_F(Best, IsNamedInTheResultsByItsStep) {
  TrainingArguments a = arguments();
  a.load_best_model_at_end = true;
  const TrainResult result = run_.trainer(a).train();
  const auto step = static_cast<int64_t>(value_of(result.train_metrics, "best_global_step"));
  ASSERT_LT(step, result.global_step);
  const Json all = read_json(run_ / "out/all_results.json");
  EXPECT_EQ(all["best_global_step"].get<int64_t>(), step);
  a.output_dir = (run_ / "again").string();
  const Dataset eval = Dataset::from_file(run_ / "eval.csv");
  Trainer saved(load_model(run_ / "out"), a, {eval, eval, run_.run().tokenizer()});
  EXPECT_EQ(value_of(saved.evaluate(), "eval_loss"), all["eval_loss"].get<double>());
}

// best/ of a run that goes on in another folder comes along; one that is damaged or gone is named at the
// start.
TEST_F(Best, OfAResumedRunIsLookedForAtItsStart) {
  TrainingArguments a = arguments();
  a.load_best_model_at_end = true;
  a.save_strategy = "steps";
  a.save_steps = 2;
  EXPECT_TRUE(run_.trainer(a).train(stop_after(9)).interrupted);
  const fs::path out = run_ / "out";
  const auto best = verified_manifest(out / "best").at("global_step").get<int64_t>();
  ASSERT_LT(best, 9);
  // The log of one more step.
  const auto resumed = [&](const std::string& from, const std::string& to) {
    TrainingArguments b = a;
    b.output_dir = (run_ / to).string();
    b.resume_from_checkpoint = (run_ / from).string();
    return log_of_run([&] { run_.trainer(b).train(stop_after(9)); });
  };
  EXPECT_THAT(resumed("out/checkpoint-9", "on"),
              HasSubstr(fmt::format(
                  "on/best: the model of the best evaluation so far (step {}) is copied from ", best)));
  EXPECT_EQ(verified_manifest(run_ / "on/best").at("global_step").get<int64_t>(), best);
  write_file(out / "best/model.safetensors", "damaged");
  EXPECT_THAT(resumed("out/checkpoint-9", "from_checkpoint"),  // which has the same weights
              HasSubstr("is copied from " + (out / checkpoint_name(best)).string()));
  EXPECT_THAT(resumed("out/checkpoint-9", "out"),
              HasSubstr("out/best: the model of the best evaluation so far"));
  EXPECT_EQ(verified_manifest(out / "best").at("global_step").get<int64_t>(), best);
  fs::remove_all(out / "best");
  fs::remove_all(out / checkpoint_name(best));
  EXPECT_THAT(
      resumed("out/checkpoint-9", "out"),
      AllOf(HasSubstr(fmt::format("the model of the best evaluation so far (step {}) is not there", best)),
            HasSubstr("out/best: there is no such folder"),
            HasSubstr("without one the output is the model of the last step")));
}

TEST_F(Best, StopsEarlyAndAResumedRunKnowsIt) {
  TrainingArguments a = arguments();
  a.early_stopping_patience = 1;
  a.early_stopping_threshold = 10;  // no gain is enough
  a.save_strategy = "steps";
  a.save_steps = 2;
  TrainResult result;
  const std::string log = log_of_run([&] { result = run_.trainer(a).train(); });
  EXPECT_EQ(result.global_step, 4);
  EXPECT_FALSE(result.interrupted);
  EXPECT_THAT(log, HasSubstr("stopped early at step 4: eval_loss has not improved for 1 evaluations"));
  a.resume_from_checkpoint = "true";
  EXPECT_EQ(run_.trainer(a).train().global_step, 4);
  a.restore_callback_states_from_checkpoint = false;
  EXPECT_GT(run_.trainer(a).train().global_step, 4);
}

TEST_F(Best, NeedsEvaluations) {
  for (const auto& change : std::vector<std::function<void(TrainingArguments&)>>{
           [](TrainingArguments& a) { a.load_best_model_at_end = true; },
           [](TrainingArguments& a) { a.save_strategy = "best"; },
           [](TrainingArguments& a) { a.early_stopping_patience = 3; }}) {
    TrainingArguments a = run_.arguments("out");
    change(a);
    EXPECT_THAT(error_of([&] { run_.trainer(a); }),
                HasSubstr("needs evaluations, and --eval_strategy is no"));
  }
}

}  // namespace
}  // namespace graft::train
