#include "train/output.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/log.h"
#include "tasks/sequence_classification.h"
#include "train/tiny_run.h"

namespace graft::train {
namespace {

using namespace graft::test;
using testing::AllOf;
using testing::HasSubstr;

std::string log_of(const std::function<void()>& f) {
  std::string log;
  const LogSink former = set_log_sink([&](LogLevel, const std::string& text) { log += text + "\n"; });
  f();
  set_log_sink(former);
  return log;
}

TEST(RunLog, ABetterEvaluationThanTheLastIsNamed) {
  const TinyRun run;
  TrainingArguments a = run.arguments();
  a.eval_strategy = "steps";
  a.eval_steps = 10;
  const Dataset data = Dataset::from_file(run.single_csv("train.csv", 24, 1));
  Trainer t(run.model("sequence-classification", {"blue", "green", "red"}), a, {data, data, run.tokenizer()});
  const auto said = [&](const char* metric, std::vector<double> values, std::vector<int64_t> checkpoints,
                        int64_t stopped_at = 30, int64_t best_step = -1) {
    TrainState state;
    state.best_step = best_step;
    state.checkpoints = std::move(checkpoints);
    const Observer observer;
    StepPlan plan;
    plan.eval_steps = 10;
    RunLog log(t.parts(), plan, state, observer);
    for (const double value : values) {
      state.step += 10;
      log.evaluation({{"eval_loss", 1}, {metric, value}});
    }
    state.step = stopped_at;
    return log_of([&] { log.explain_best(); });
  };
  EXPECT_EQ(said("eval_accuracy", {0.5, 0.75, 0.625}, {10, 20}),
            "eval_accuracy was best at step 20: 0.7500; the saved model is that of step 30: 0.6250; that of "
            "step 20 "
            "is in checkpoint-20\n");
  EXPECT_THAT(said("eval_accuracy", {0.75, NAN, 0.625}, {}),
              AllOf(HasSubstr("best at step 10: 0.7500"),
                    HasSubstr("--load_best_model_at_end true --metric_for_best_model accuracy takes")));
  EXPECT_EQ(said("eval_accuracy", {0.5, 0.75, 0.75}, {}), "");
  EXPECT_EQ(said("eval_accuracy", {0.5, NAN, NAN}, {}), "");
  EXPECT_EQ(said("eval_accuracy", {0.75, 0.5, 0.625}, {}, 34), "");  // interrupted behind the last evaluation
  EXPECT_EQ(said("eval_f1_macro", {0.75, 0.5, 0.625}, {}), "");      // not the one that compares models
  // With options that keep a best model the advice is about them.
  t.parts().arguments.metric_for_best_model = "loss";
  EXPECT_THAT(said("eval_accuracy", {0.75, 0.5, 0.625}, {}, 30, 20),
              AllOf(HasSubstr("best/ has that of step 20, the best by eval_loss"),
                    HasSubstr("--metric_for_best_model accuracy chooses by accuracy")));
  EXPECT_THAT(said("eval_accuracy", {0.75, 0.5, 0.625}, {}, 30, 10),
              HasSubstr("; that of step 10 is in best/\n"));
  t.parts().arguments.eval_strategy = "no";  // --eval_on_start and the end
  EXPECT_THAT(said("eval_accuracy", {0.75, 0.5}, {}, 20), testing::EndsWith("step 20: 0.5000\n"));
}

TEST(PrimaryMetric, FollowsTheProblemType) {
  const auto name = [](int labels, const char* type) {
    return std::string(tasks::SequenceClassification(labels, type).primary_metric().name);
  };
  EXPECT_EQ(name(3, "single_label_classification"), "accuracy");
  EXPECT_EQ(name(3, "multi_label_classification"), "f1_micro");
  EXPECT_EQ(name(1, "regression"), "pearson");
  EXPECT_FALSE(tasks::find_task("masked-lm")
                   .make_task(TinyRun().model("masked-lm", {}), {})
                   ->primary_metric()
                   .larger_is_better);
}

}  // namespace
}  // namespace graft::train
