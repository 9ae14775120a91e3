// How a run is cut into steps, and what stops it.
#include "train/plan.h"
#include "train/step_batches.h"

#include <cmath>
#include <limits>

#include "models/model_case.h"

namespace graft::train {
namespace {
using namespace graft::test;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

TEST(StepPlan, CountsPartialWindowsAndPartialEpochs) {
  TrainingArguments a;
  EXPECT_EQ(plan_steps(10, a).steps_per_epoch, 10);
  EXPECT_EQ(plan_steps(10, a).total_steps, 30);
  a.gradient_accumulation_steps = 4;  // 4 + 4 + 2 batches
  EXPECT_EQ(plan_steps(10, a).steps_per_epoch, 3);
  EXPECT_EQ(plan_steps(10, a).total_steps, 9);
  EXPECT_EQ(plan_steps(12, a).steps_per_epoch, 3);
  EXPECT_EQ(plan_steps(1, a).steps_per_epoch, 1);
  a.num_train_epochs = 0.5;  // ceil(1.5)
  EXPECT_EQ(plan_steps(10, a).total_steps, 2);
  a.num_train_epochs = 2.1;  // ceil(6.3)
  EXPECT_EQ(plan_steps(10, a).total_steps, 7);
  EXPECT_NEAR(plan_steps(10, a).num_epochs, 7.0 / 3, 1e-12);
}

TEST(StepPlan, MaxStepsOverridesEpochs) {
  TrainingArguments a;
  a.max_steps = 25;
  EXPECT_EQ(plan_steps(10, a).total_steps, 25);
  EXPECT_EQ(plan_steps(10, a).num_epochs, 2.5);
  a.max_steps = 3;
  EXPECT_EQ(plan_steps(10, a).total_steps, 3);
}

TEST(StepPlan, RatiosAreOfAllSteps) {
  TrainingArguments a;
  a.max_steps = 101;
  a.warmup_ratio = 0.1;
  a.logging_steps = 0.05;
  a.save_steps = 0.5;
  const StepPlan plan = plan_steps(10, a);
  EXPECT_EQ(plan.warmup_steps, 11);  // ceil(10.1)
  EXPECT_EQ(plan.logging_steps, 6);  // ceil(5.05)
  EXPECT_EQ(plan.eval_steps, 6);     // logging_steps where nothing is said
  EXPECT_EQ(plan.save_steps, 51);
  a.warmup_steps = 7;
  EXPECT_EQ(plan_steps(10, a).warmup_steps, 11);  // the ratio goes first
  a.warmup_ratio = 0;
  EXPECT_EQ(plan_steps(10, a).warmup_steps, 0);  // also where it is 0
  a.warmup_ratio.reset();
  a.warmup_steps = 0.1;
  EXPECT_EQ(plan_steps(10, a).warmup_steps, 11);
  a.warmup_steps = 7;
  a.eval_steps = 3;
  EXPECT_EQ(plan_steps(10, a).warmup_steps, 7);
  EXPECT_EQ(plan_steps(10, a).eval_steps, 3);
}

TEST(StepPlan, NoWholeBatchIsAnError) {
  TrainingArguments a;
  a.per_device_train_batch_size = 64;
  EXPECT_THAT(error_of([&] { plan_steps(0, a); }),
              AllOf(HasSubstr("one batch of 64"), HasSubstr("--dataloader_drop_last false")));
}

TEST(IsDue, AtEverySoManyStepsOrAtTheEndOfAnEpoch) {
  EXPECT_TRUE(is_due("steps", 5, 10, false));
  EXPECT_FALSE(is_due("steps", 5, 11, true));
  EXPECT_TRUE(is_due("epoch", 5, 11, true));
  EXPECT_FALSE(is_due("epoch", 5, 10, false));
  EXPECT_FALSE(is_due("no", 1, 10, true));
}

TEST(MicroBatches, TheLastWindowOfAnEpochIsPartial) {
  data::SamplerOptions options;
  options.sampling = data::Sampling::sequential;
  options.batch_size = 2;
  data::Sampler sampler(9, options);
  EXPECT_THAT(micro_batches(sampler, 0, 0, 3),
              ElementsAre(ElementsAre(0, 1), ElementsAre(2, 3), ElementsAre(4, 5)));
  EXPECT_THAT(micro_batches(sampler, 0, 1, 3), ElementsAre(ElementsAre(6, 7), ElementsAre(8)));
}

TEST(LossTerms, CountWhatTheLossSumsOver) {
  GRAFT_SHARED_PATH(golden, "golden");
  const std::vector<std::vector<int64_t>> batches = {{0, 1, 2, 3}, {4, 5}};
  const auto terms = [&](const std::string& name) {
    const Model model = load_model(golden / name);
    const RandomFeatures features(model, 6, 20);
    StepBatches step;
    step.fill(features, {{0}, {1}, {2}}, 0);  // an earlier step, of more batches
    step.fill(features, batches, 0);
    return total_of(*make_task(model), step).terms;
  };
  EXPECT_EQ(terms("bert/seqcls_single"), 6);
  EXPECT_EQ(terms("bert/seqcls_multi"), 18);  // six examples, three labels
  EXPECT_EQ(terms("bert/seqcls_regression"), 6);
  const Model model = load_model(golden / "bert/mlm");
  const data::RaggedBatch all = RandomFeatures(model, 6, 20).batch(6);
  ASSERT_GT(all.labels.size(), 2u);
  EXPECT_EQ(terms("bert/mlm"), static_cast<double>(all.labels.size()));
}

TEST(CheckBatch, IdsOutsideTheVocabularyAndLongSequencesAreErrors) {
  GRAFT_SHARED_PATH(folder, "golden/bert/seqcls_single");
  const Model model = load_model(folder);
  data::RaggedBatch batch = RandomFeatures::of_length(model, 2, 40).batch(2);
  check_batch(batch, model);
  batch.input_ids[3] = 200;
  EXPECT_THAT(error_of([&] { check_batch(batch, model); }),
              AllOf(HasSubstr("token id 200"), HasSubstr("vocabulary of 200"), HasSubstr("tokenizer")));
  batch.input_ids[3] = -1;
  EXPECT_THAT(error_of([&] { check_batch(batch, model); }), HasSubstr("token id -1"));
  const data::RaggedBatch longer = RandomFeatures::of_length(model, 1, 41).batch(1);
  EXPECT_THAT(error_of([&] { check_batch(longer, model); }),
              AllOf(HasSubstr("41 tokens"), HasSubstr("40 positions"), HasSubstr("--max_seq_length 40")));
}

// RoBERTa counts positions from padding id + 1: of 42 there are 40 for a sequence.
TEST(CheckBatch, RobertaHasFewerPositionsThanRows) {
  GRAFT_SHARED_PATH(folder, "golden/roberta/seqcls_single");
  const Model model = load_model(folder);
  check_batch(RandomFeatures::of_length(model, 1, 40).batch(1), model);
  EXPECT_THAT(error_of([&] { check_batch(RandomFeatures::of_length(model, 1, 41).batch(1), model); }),
              HasSubstr("40 positions"));
}

TEST(CheckFinite, NamesStepLossAndTheParameterThatIsNot) {
  GRAFT_SHARED_PATH(folder, "golden/bert/seqcls_single");
  const Model model = load_model(folder);
  models::State& state = model.state();
  check_finite(1.0, 2.0, 0, state);
  const double inf = std::numeric_limits<double>::infinity();
  EXPECT_THAT(error_of([&] { check_finite(inf, 1.0, 6, state); }),
              AllOf(HasSubstr("step 7"), HasSubstr("loss is inf"), HasSubstr("--learning_rate"),
                    Not(HasSubstr("parameter "))));
  EXPECT_THAT(error_of([&] { check_finite(1.0, std::nan(""), 0, state); }), HasSubstr("gradient norm nan"));
  state.parameters.value(*state.parameters.find("bert.pooler.dense.bias"))[3] = std::nanf("");
  EXPECT_THAT(error_of([&] { check_finite(std::nan(""), 1.0, 0, state); }),
              AllOf(HasSubstr("bert.pooler.dense.bias"), HasSubstr("damaged")));
}

TEST(StepMemory, GrowsOnlyForALargerBatch) {
  GRAFT_SHARED_PATH(folder, "golden/bert/seqcls_single");
  const Model model = load_model(folder);
  models::State& state = model.state();
  state.parameters.allocate_grads();
  const auto task = make_task(model);
  const RandomFeatures features(model, 20, 40);
  StepMemory memory;
  EXPECT_TRUE(memory.prepare(state, task.get(), features.batch(10), true));
  const size_t bytes = memory.bytes();
  EXPECT_GT(bytes, 0u);
  EXPECT_FALSE(memory.prepare(state, task.get(), features.batch(10), true));
  EXPECT_FALSE(memory.prepare(state, task.get(), features.batch(5), false));
  EXPECT_TRUE(memory.prepare(state, task.get(), features.batch(20), true));
  EXPECT_GT(memory.bytes(), bytes);
}

// What a dry run says is what the pass takes: no more, or it would meet page faults.
TEST(StepMemory, TheDryRunsPeakIsThatOfThePass) {
  for (const std::string& name : fixture_names()) {
    const Model model = load_model(fixture_folder(name));
    models::State& state = model.state();
    state.parameters.allocate_grads();
    state.parameters.clear_grads();
    const auto task = make_task(model);
    const data::RaggedBatch batch = RandomFeatures(model, 20, 40).batch(20);
    StepMemory memory;
    memory.prepare(state, task.get(), batch, true);
    memory.arena().reset();
    memory.arena().clear_peak();
    accumulate_gradients(state, *task, batch, 1, 42, 0, true, memory);
    EXPECT_LE(memory.arena().peak(), memory.bytes()) << name;
    EXPECT_GE(memory.arena().peak(), memory.bytes() * 9 / 10) << name;
  }
}

}  // namespace
}  // namespace graft::train
