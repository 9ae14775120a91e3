// Regularisation as a run shows it: what moves, what is evaluated and what is saved.
#include "train/regularization.h"

#include <algorithm>
#include <cmath>

#include "base/file.h"
#include "base/log.h"
#include "models/model_case.h"
#include "train/arguments.h"
#include "train/job.h"
#include "train/resume_run.h"
#include "train/tiny_run.h"

namespace graft::train {
namespace {
using namespace graft::test;
using engine::Parameter;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

// 24 examples in batches of 8: three steps an epoch.
class RegularizationTest : public testing::Test {
 protected:
  Model model(double dropout = 0) const {
    return run_.model("sequence-classification", {"blue", "green", "red"}, dropout);
  }
  // Trains `m` and returns the result.
  TrainResult train(const Model& m, const TrainingArguments& a, const Observer& observer = {}) const {
    return Trainer(m, a, {data_, eval_, run_.tokenizer()}).train(observer);
  }
  std::vector<float> trained(const TrainingArguments& a, double dropout = 0) const {
    const Model m = model(dropout);
    train(m, a);
    return all_values(m);
  }
  static std::vector<float> value(const Model& m, const std::string& name) {
    const engine::ParameterStore& store = m.state().parameters;
    const Parameter& p = *store.find(name);
    return {store.value(p), store.value(p) + p.size};
  }
  TinyRun run_;
  Dataset data_ = Dataset::from_file(run_.single_csv("train.csv", 24, 1)),
          eval_ = Dataset::from_file(run_.single_csv("eval.csv", 11, 2));
};

constexpr const char *kTop = "bert.encoder.layer.1.output.dense.weight",
                     *kLow = "bert.encoder.layer.0.output.dense.weight",
                     *kWords = "bert.embeddings.word_embeddings.weight", *kHead = "classifier.weight";

TEST_F(RegularizationTest, GradualUnfreezingGoesFromTheHeadDown) {
  TrainingArguments a = run_.arguments();
  a.gradual_unfreezing = 1;
  a.weight_decay = 0.1;
  a.num_train_epochs = 4;
  a.lr_scheduler_type = "constant";
  const Model m = model();
  std::vector<std::string> moved;  // in each step, of the four names
  std::vector<std::vector<float>> before;
  for (const char* name : {kHead, kTop, kLow, kWords}) before.push_back(value(m, name));
  train(m, a, {.on_step = [&](const TrainProgress&) {
          std::string now;
          size_t i = 0;
          for (const char* name : {kHead, kTop, kLow, kWords})
            now += value(m, name) == before[i++] ? '-' : 'x';
          moved.push_back(now);
        }});
  EXPECT_THAT(moved, ElementsAre("x---", "x---", "x---", "xx--", "xx--", "xx--", "xxx-", "xxx-", "xxx-",
                                 "xxxx", "xxxx", "xxxx"));
  for (const Parameter& p : m.state().parameters.parameters()) EXPECT_EQ(p.trainable, !p.unused) << p.name;
  a.num_train_epochs = 1;
  EXPECT_THAT(log_of_run([&] { train(model(), a); }), HasSubstr("stay frozen"));
}

TEST_F(RegularizationTest, WeightDecayPatternsOverrideTheDecayOfTheirParameters) {
  TrainingArguments a = run_.arguments();
  a.max_steps = 1;
  a.learning_rate = 1e-3;
  a.lr_scheduler_type = "constant";
  a.weight_decay = 0.5;
  // AdamW's decay is lr * decay * w, whatever the gradient.
  const auto decay_of_run = [&](const std::string& patterns, const char* name) {
    a.weight_decay_patterns = patterns;
    const Model with = model(), without = model();
    const std::vector<float> start = value(with, name);
    train(with, a);
    TrainingArguments none = a;
    none.weight_decay = 0;
    none.weight_decay_patterns = "";
    train(without, none);
    const std::vector<float> x = value(with, name), y = value(without, name);
    size_t at = 0;  // the largest weight
    for (size_t i = 0; i < start.size(); ++i)
      if (std::fabs(start[i]) > std::fabs(start[at])) at = i;
    return (y[at] - x[at]) / (1e-3 * start[at]);
  };
  EXPECT_NEAR(decay_of_run("", kTop), 0.5, 0.02);
  EXPECT_NEAR(decay_of_run("*.layer.1.*=0.25", kTop), 0.25, 0.02);
  EXPECT_NEAR(decay_of_run("*.layer.1.*=0.25", kLow), 0.5, 0.02);
  EXPECT_NEAR(decay_of_run("*.layer.1.*=0.25,*=0", kTop), 0, 0.02);
  EXPECT_NEAR(decay_of_run("", "bert.embeddings.LayerNorm.weight"), 0, 0.02);
  EXPECT_NEAR(decay_of_run("*LayerNorm*=2", "bert.embeddings.LayerNorm.weight"), 2, 0.1);
  EXPECT_THAT(error_of([&] { decay_of_run("nothing*=1", kTop); }), HasSubstr("--weight_decay_patterns: "));
  EXPECT_THAT(error_of([&] { decay_of_run("*", kTop); }), HasSubstr("has no value"));
}

TEST_F(RegularizationTest, TheSavedAndTheEvaluatedModelIsTheAverage) {
  TrainingArguments a = run_.arguments();
  a.max_steps = 6;
  a.weight_decay = 0.1;  // rows of the embedding that no text has move too
  a.lr_scheduler_type = "constant";
  std::vector<std::vector<float>> weights;  // after each step
  const Model plain = model();
  train(plain, a, {.on_step = [&](const TrainProgress&) { weights.push_back(value(plain, kTop)); }});

  a.ema_decay = 0.5;
  a.eval_strategy = "steps";
  a.eval_steps = 6;
  a.save_strategy = "steps";
  a.save_steps = 6;
  const Model ema = model();
  TrainResult result;
  EXPECT_THAT(log_of_run([&] { result = train(ema, a); }),
              HasSubstr("the average of the weights, of 6 steps"));
  std::vector<double> expected(weights[0].begin(), weights[0].end());
  for (size_t step = 1; step < weights.size(); ++step)
    for (size_t i = 0; i < expected.size(); ++i) expected[i] = 0.5 * expected[i] + 0.5 * weights[step][i];
  const std::vector<float> saved = value(graft::test::load_model(run_ / "out"), kTop);
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(saved[i], expected[i], 1e-6);
  EXPECT_TRUE(same_bits(all_values(graft::test::load_model(run_ / "out")), all_values(ema)));
  EXPECT_TRUE(same_bits(all_values(graft::test::load_model(run_ / "out/checkpoint-6")), all_values(ema)));
  a.ema_decay = 0;
  Trainer evaluator(graft::test::load_model(run_ / "out"), a, {data_, eval_, run_.tokenizer()});
  EXPECT_EQ(value_of(evaluator.evaluate(), "eval_loss"), value_of(result.metrics, "eval_loss"));
}

TEST_F(RegularizationTest, WhatWouldHaveNoEffectIsRefusedOrSaid) {
  TrainingArguments a = run_.arguments();
  a.num_train_epochs = 2;
  a.swa_start = 5;
  EXPECT_THAT(
      error_of([&] { train(model(), a, {}); }),
      AllOf(HasSubstr("--swa_start 5: the run of 6 steps (2 epochs) has no end of an epoch from step 15 on"),
            HasSubstr("no weights are averaged"), HasSubstr("an earlier --swa_start")));
  a.swa_start = 2;
  EXPECT_THAT(log_of_run([&] { train(model(), a, {}); }), HasSubstr("only the last weights are averaged"));
  a.swa_start = 0.5;  // of the steps: both ends count
  EXPECT_THAT(log_of_run([&] { train(model(), a, {}); }), Not(HasSubstr("only the last weights")));
  a.swa_start = 0;
  a.gradual_unfreezing = 4;
  EXPECT_THAT(error_of([&] { train(model(), a, {}); }),
              AllOf(HasSubstr("--gradual_unfreezing is 4, but below its head the model has 2 layers"),
                    HasSubstr("3 adds all of them")));
  a.gradual_unfreezing = 1;
  EXPECT_THAT(log_of_run([&] { train(model(), a, {}); }), HasSubstr(" tensors stay frozen"));
  a.peft_type = "linear_probing";
  EXPECT_THAT(log_of_run([&] { train(model(), a, {}); }), HasSubstr("--gradual_unfreezing 1 has no effect"));
  a = run_.arguments();
  a.eval_strategy = "steps";
  a.eval_delay = 100;
  EXPECT_THAT(log_of_run([&] { train(model(), a, {}); }),
              HasSubstr("--eval_delay 100 is longer than the run of 9 steps"));
}

TEST_F(RegularizationTest, SwaAveragesEpochsAtItsOwnRate) {
  TrainingArguments a = run_.arguments();
  a.num_train_epochs = 4;
  a.swa_start = 2;  // epochs
  a.swa_lr = 5e-4;
  std::vector<double> rates;
  std::vector<std::vector<float>> weights;
  const Model m = model();
  train(m, a, {.on_step = [&](const TrainProgress& p) {
          rates.push_back(p.learning_rate);
          weights.push_back(value(m, kTop));
        }});
  ASSERT_EQ(rates.size(), 12u);
  EXPECT_GT(rates[5], 5e-4);
  for (size_t i = 6; i < 12; ++i) EXPECT_EQ(rates[i], 5e-4);
  const std::vector<float> got = value(m, kTop);
  for (size_t i = 0; i < got.size(); ++i)  // after the epochs 2, 3 and 4
    EXPECT_NEAR(got[i], (static_cast<double>(weights[5][i]) + weights[8][i] + weights[11][i]) / 3, 1e-6);
}

TEST_F(RegularizationTest, EachKindChangesTheRunAndItsBitsDoNotDependOnThreads) {
  const std::vector<float> plain = trained(run_.arguments(), 0.1);
  const std::vector<std::pair<const char*, const char*>> kinds = {
      {"mixout", "0.3"},          {"neftune_noise_alpha", "5"}, {"r_drop_alpha", "1"},
      {"class_weights", "1,2,3"}, {"focal_gamma", "2"},         {"label_smoothing_factor", "0.1"}};
  for (const auto& [name, text] : kinds) {
    TrainingArguments a = run_.arguments();
    set_argument(a, name, text);
    expect_thread_free(name, [&, one = a] { return trained(one, 0.1); });
    EXPECT_FALSE(same_bits(trained(a, 0.1), plain)) << name;
  }
}

// With mixout and an average, as with neither: one batch of 8 is two of 4.
TEST_F(RegularizationTest, AccumulatedBatchesAreTheLargeOne) {
  TrainingArguments a = run_.arguments();
  a.max_steps = 4;
  a.mixout = 0.3;
  a.neftune_noise_alpha = 5;
  a.class_weights = "1,2,3";
  const std::vector<float> whole = trained(a, 0.1);
  a.per_device_train_batch_size = 4;
  a.gradient_accumulation_steps = 2;
  EXPECT_LT(largest_difference(trained(a, 0.1), whole), 2e-4);
}

TEST_F(RegularizationTest, DropoutOverridesAreThoseOfTheFamily) {
  model(0.1).save_pretrained(run_ / "start");
  ModelOptions options;
  options.task = "sequence-classification";
  options.dropout = {{"hidden_dropout_prob", 0.25}};
  const Model m = Model::from_pretrained(run_ / "start", options);
  EXPECT_EQ(m.state().config.json()["hidden_dropout_prob"], 0.25);
  EXPECT_EQ(m.state().config.json()["attention_probs_dropout_prob"], 0.1);
  options.dropout = {
      {"hidden_dropout_prob", 0}, {"attention_probs_dropout_prob", 0}, {"classifier_dropout", 0}};
  const Model none = Model::from_pretrained(run_ / "start", options), without = model(0);
  TrainingArguments a = run_.arguments();
  train(none, a);
  train(without, a);
  EXPECT_TRUE(same_bits(all_values(none), all_values(without)));
  options.dropout = {{"resid_pdrop", 0.1}};
  EXPECT_THAT(error_of([&] { Model::from_pretrained(run_ / "start", options); }),
              testing::AllOf(HasSubstr("--resid_pdrop is refused: a bert has no such dropout"),
                             HasSubstr("--hidden_dropout_prob, --attention_probs_dropout_prob")));
  TrainJob job;
  EXPECT_TRUE(override_dropout(job, "seq_classif_dropout", "0.3"));
  EXPECT_THAT(job.dropout, ElementsAre(testing::Pair("seq_classif_dropout", 0.3)));
  EXPECT_FALSE(override_dropout(job, "learning_rate", "0.3"));
  EXPECT_THAT(error_of([&] { override_dropout(job, "dropout", "1"); }),
              HasSubstr("--dropout 1 is out of range"));
}

}  // namespace
}  // namespace graft::train
