// A training that goes wrong is diagnosed: spikes, gradients that vanish, NaN, collapse to one label.
#include "train/divergence.h"

#include <algorithm>
#include <cmath>

#include "base/log.h"
#include "models/state.h"
#include "train/parts.h"
#include "train/resume_run.h"
#include "train/tiny_run.h"
#include "train/verify_resume.h"

namespace graft::train {
namespace {
using namespace graft::test;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

// What the log says while `f` runs.
std::string log_during(const std::function<void()>& f) {
  std::string out;
  const LogSink former = set_log_sink([&](LogLevel, const std::string& text) { out += text + "\n"; });
  try {
    f();
  } catch (...) {
    set_log_sink(former);
    throw;
  }
  set_log_sink(former);
  return out;
}

size_t count(const std::string& text, const std::string& part) {
  size_t n = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

TrainingArguments skipping(double factor, int64_t most) {
  TrainingArguments a;
  a.skip_grad_spikes = factor;
  a.max_skipped_steps = most;
  return a;
}

TEST(GradientWatch, SkipsAStepWhoseNormIsFarAboveTheMedian) {
  const engine::ParameterStore none;
  GradientWatch watch(skipping(10, 2));
  const std::string log = log_during([&] {
    for (int64_t step = 0; step < 20; ++step) EXPECT_FALSE(watch.skips(none, 1, step == 5 ? 50 : 2, step));
    EXPECT_FALSE(watch.skips(none, 1, 19, 20));
    EXPECT_TRUE(watch.skips(none, 1, 21, 21));
    EXPECT_FALSE(watch.skips(none, 1, 2, 22));
  });
  EXPECT_EQ(watch.skipped(), 1);
  EXPECT_THAT(log,
              HasSubstr("step 22: the gradient norm 21 is 10 times the median 2; the step is skipped (1 so"));
}

TEST(GradientWatch, StopsWhereTooManyStepsInARowAreSkipped) {
  const engine::ParameterStore none;
  GradientWatch watch(skipping(10, 2));
  for (int64_t step = 0; step < 20; ++step) watch.skips(none, 1, 2, step);
  EXPECT_TRUE(watch.skips(none, 1, 100, 20));
  EXPECT_TRUE(watch.skips(none, 1, 100, 21));
  EXPECT_THAT(error_of([&] { watch.skips(none, 1, 100, 22); }),
              AllOf(HasSubstr("step 23: 3 steps in a row"), HasSubstr("--max_skipped_steps is 2"),
                    HasSubstr("lower --learning_rate")));
}

TEST(GradientWatch, WarnsOnceWithoutTheOption) {
  const engine::ParameterStore none;
  GradientWatch watch(skipping(0, 10));
  const std::string log = log_during([&] {
    for (int64_t step = 0; step < 40; ++step)
      EXPECT_FALSE(watch.skips(none, 1, step % 10 == 9 ? 90 : 2, step));
  });
  EXPECT_EQ(count(log, "--skip_grad_spikes 20 skips such steps"), 1u) << log;
  EXPECT_THAT(log, HasSubstr("step 30: "));  // the first with enough steps before it
}

TEST(GradientWatch, ContinuesFromItsSavedValues) {
  const engine::ParameterStore none;
  GradientWatch whole(skipping(3, 10)), part(skipping(3, 10)), rest(skipping(3, 10));
  std::vector<bool> expected, found;
  for (int64_t step = 0; step < 250; ++step) {
    const double norm = 2 + std::sin(static_cast<double>(step)) + (step % 40 == 39 ? 10 : 0);
    expected.push_back(whole.skips(none, 1, norm, step));
    if (step == 120) rest.load(Json::parse(part.values().dump()));
    found.push_back((step < 120 ? part : rest).skips(none, 1, norm, step));
  }
  EXPECT_EQ(found, expected);
  EXPECT_EQ(std::count(expected.begin(), expected.end(), true), 6);
  EXPECT_EQ(rest.values().dump(), whole.values().dump());
  EXPECT_THAT(error_of([&] { rest.load({{"norms", Json::array({1.0})}}); }), HasSubstr("next"));
}

// Trains on `rows` colours with a model that `edit` changes first.
struct WatchedRun {
  TrainResult result;
  std::string log, error;
  std::vector<float> weights;
};

WatchedRun train(const std::function<void(TrainingArguments&)>& choose,
                 const std::function<void(engine::ParameterStore&)>& edit = {}, int rows = 64) {
  const TinyRun world;
  TrainingArguments a = world.arguments();
  choose(a);
  TaskData data;
  data.train = Dataset::from_file(world.single_csv("train.csv", rows, 1));
  data.eval = Dataset::from_file(world.single_csv("eval.csv", 30, 2));
  data.tokenizer = world.tokenizer();
  const Model model = world.model("sequence-classification", {"blue", "green", "red"});
  engine::ParameterStore& store = model.state().parameters;
  if (edit) edit(store), store.touch_values();
  WatchedRun out;
  out.log = log_during([&] {
    try {
      Trainer trainer(model, a, data);
      out.result = trainer.train();
    } catch (const Error& e) {
      out.error = std::string(e.what()) + "\n" + e.hint();
    }
  });
  for (const engine::Parameter& p : store.parameters())
    out.weights.insert(out.weights.end(), store.value(p), store.value(p) + p.size);
  return out;
}

void fill(engine::ParameterStore& store, const std::string& name, float value) {
  engine::Parameter* p = store.find(name);
  ASSERT_NE(p, nullptr) << name;
  std::fill_n(store.value(*p), p->size, value);
}

TEST(Divergence, SkippedStepsLeaveTheWeightsAndAreCounted) {
  const auto choose = [](double factor) {
    return [factor](TrainingArguments& a) {
      a.max_steps = 40;
      a.skip_grad_spikes = factor;
      a.max_skipped_steps = 1000;
    };
  };
  const WatchedRun plain = train(choose(0)), unused = train(choose(1e6)), skipped = train(choose(1));
  EXPECT_EQ(unused.weights, plain.weights);
  EXPECT_NE(skipped.weights, plain.weights);
  EXPECT_EQ(skipped.result.global_step, 40);
  const double n = value_of(skipped.result.train_metrics, "skipped_steps");
  EXPECT_GE(n, 1);
  EXPECT_LT(n, 20);
  EXPECT_EQ(static_cast<double>(count(skipped.log, "the step is skipped")), n);
  EXPECT_TRUE(plain.result.train_metrics.empty());
  // A run whose every later step is one ends.
  const WatchedRun stopped = train([](TrainingArguments& a) {
    a.max_steps = 200;
    a.skip_grad_spikes = 1e-6;
    a.max_skipped_steps = 3;
  });
  EXPECT_THAT(stopped.error, HasSubstr("step 24: 4 steps in a row"));
}

// The statistics of the gradient norms go with the checkpoint.
TEST(Divergence, AResumedRunSkipsTheSameSteps) {
  const ResumeRun run;
  const auto arguments = [&](const std::string& out) {
    TrainingArguments a = run.arguments(out);
    a.max_steps = 40;
    a.skip_grad_spikes = 1;
    a.max_skipped_steps = 1000;
    return a;
  };
  run.trainer(arguments("whole")).train();
  EXPECT_TRUE(run.trainer(arguments("out")).train(stop_after(30)).interrupted);
  TrainingArguments rest = arguments("out");
  rest.resume_from_checkpoint = "true";
  EXPECT_GE(value_of(run.trainer(rest).train().train_metrics, "skipped_steps"), 1);
  ResumeReport report;
  compare_checkpoints(run / "whole/checkpoint-40", run / "out/checkpoint-40", report);
  EXPECT_EQ(report.difference, "");
}

// Finite numbers forward: 1e-30 * 1e20 * 1e20. Backward 1e20 * 1e20 is none.
void overflow_backward(engine::ParameterStore& store) {
  fill(store, "bert.encoder.layer.1.output.LayerNorm.weight", 1e-30f);
  fill(store, "bert.encoder.layer.1.output.LayerNorm.bias", 0);
  for (const char* name : {"bert.pooler.dense.weight", "classifier.weight"}) {
    const engine::Parameter& p = *store.find(name);
    for (int64_t i = 0; i < p.size; ++i) store.value(p)[i] *= 1e21f;
  }
}

TEST(Divergence, AnOverflowOfTheBackwardPassIsNamed) {
  const WatchedRun run = train([](TrainingArguments& a) { a.max_steps = 3; }, overflow_backward);
  EXPECT_THAT(
      run.error,
      AllOf(HasSubstr("step 1: "),
            HasSubstr("in the backward pass linear_backward with bert.pooler.dense.weight overflows first"),
            HasSubstr("lower --learning_rate")));
}

TEST(Divergence, DebugFindsItWhileItComputesAndChangesNoBit) {
  const auto debug = [](TrainingArguments& a) {
    a.max_steps = 3;
    a.debug = "underflow_overflow";
  };
  EXPECT_THAT(train(debug, overflow_backward).error,
              AllOf(HasSubstr("linear_backward with bert.pooler.dense.weight is the first operation of the "
                              "backward pass"),
                    HasSubstr("--debug underflow_overflow")));
  EXPECT_THAT(train(debug,
                    [](engine::ParameterStore& s) {
                      fill(s, "bert.encoder.layer.0.intermediate.dense.bias", std::nanf(""));
                    })
                  .error,
              AllOf(HasSubstr("linear with bert.encoder.layer.0.intermediate.dense.weight"),
                    HasSubstr("forward pass")));
  EXPECT_EQ(train(debug).weights, train([](TrainingArguments& a) { a.max_steps = 3; }).weights);
}

TEST(Divergence, CollapseToOneLabelIsSaidOnce) {
  const auto choose = [](TrainingArguments& a) {
    a.learning_rate = 0;
    a.max_steps = 6;
    a.eval_strategy = "steps";
    a.eval_steps = 2;
  };
  const WatchedRun collapsed =
      train(choose, [](engine::ParameterStore& s) { s.value(*s.find("classifier.bias"))[2] = 50; });
  EXPECT_EQ(
      count(collapsed.log, "step 2: all 30 predictions of the evaluation are \"red\", the label of 33.3 %"),
      1u)
      << collapsed.log;
  EXPECT_EQ(count(collapsed.log, "the model ignores its input"), 1u);
  const WatchedRun learned = train([](TrainingArguments& a) {
    a.num_train_epochs = 10;
    a.eval_strategy = "epoch";
    a.eval_delay = 8;
  });
  EXPECT_THAT(learned.log, Not(HasSubstr("the model ignores its input")));
}

TEST(Divergence, ALossThatStaysAtTheEntropyOfTheLabelsIsSaid) {
  const auto choose = [](double rate) {
    return [rate](TrainingArguments& a) {
      a.learning_rate = rate;
      a.per_device_train_batch_size = 4;
      a.num_train_epochs = 4;  // of 16 steps
    };
  };
  const WatchedRun stuck = train(choose(0));
  EXPECT_EQ(count(stuck.log, "nothing was learned: the training loss of the last epoch is "), 1u)
      << stuck.log;
  EXPECT_THAT(stuck.log, HasSubstr("how often each label occurs has 1.0"));  // close to ln 3
  EXPECT_THAT(train(choose(3e-3)).log, Not(HasSubstr("nothing was learned")));
  // Another loss has another bound, and a short run says nothing.
  EXPECT_THAT(train([&](TrainingArguments& a) {
                choose(0)(a);
                a.label_smoothing_factor = 0.1;
              }).log,
              Not(HasSubstr("nothing was learned")));
  EXPECT_THAT(train([&](TrainingArguments& a) {
                choose(0)(a);
                a.num_train_epochs = 2;
              }).log,
              Not(HasSubstr("nothing was learned")));
}

// The frozen scale of zero lets no gradient through: nothing below layer 1's output learns.
TEST(Divergence, VanishingGradientsNameTheLayer) {
  const WatchedRun run = train(
      [](TrainingArguments& a) {
        a.max_steps = 160;
        a.freeze = "bert.encoder.layer.0.output.LayerNorm.*";
      },
      [](engine::ParameterStore& s) { fill(s, "bert.encoder.layer.0.output.LayerNorm.weight", 0); });
  EXPECT_EQ(count(run.log, "step 150: the gradient vanishes in bert.encoder.layer.0: its norm is 0"), 1u)
      << run.log;
  EXPECT_EQ(count(run.log, "the gradient vanishes"), 1u);
  // All of it: a loss that depends on nothing.
  const WatchedRun whole = train(
      [](TrainingArguments& a) {
        a.max_steps = 30;
        a.freeze = "classifier.*";
      },
      [](engine::ParameterStore& s) { fill(s, "classifier.weight", 0); });
  EXPECT_EQ(count(whole.log, "step 20: the gradient norm is below 1e-07 for 20 steps"), 1u) << whole.log;
  const WatchedRun well = train([](TrainingArguments& a) { a.max_steps = 160; });
  EXPECT_THAT(well.log, Not(HasSubstr("vanish")));
}

}  // namespace
}  // namespace graft::train
