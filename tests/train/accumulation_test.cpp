// Gradient accumulation equals the big batch, dropout on: one pass over all examples against the same
// examples cut into micro-batches, the last one partial. And whole runs give the same bits for any number of
// threads.
#include "base/threads.h"
#include "models/model_case.h"
#include "train/tiny_run.h"

namespace graft::train {
namespace {
using namespace graft::test;

struct Sum {
  double loss = 0;
  std::vector<float> gradients;
};

// Gradients of the examples of one optimizer step, cut into pieces.
Sum accumulate(const Model& model, const tasks::Task& task, const RandomFeatures& features,
               const std::vector<int64_t>& pieces, uint64_t seed = 42) {
  models::State& state = model.state();
  std::vector<data::RaggedBatch> batches;
  double terms = 0;
  int64_t index = 0;
  for (const int64_t n : pieces) {
    data::RaggedBatch batch;
    for (int64_t i = 0; i < n; ++i, ++index) features.append(batch, index, index, 0);
    terms += task.loss_terms(batch);
    batches.push_back(std::move(batch));
  }
  state.parameters.allocate_grads();
  state.parameters.clear_grads();
  StepMemory memory;
  Sum sum;
  for (const data::RaggedBatch& b : batches) {
    sum.loss += accumulate_gradients(state, task, b, terms, seed, 3, true, memory);
  }
  sum.gradients = all_gradients(state);
  return sum;
}

TEST(Accumulation, EqualsTheBigBatchWithDropout) {
  for (const std::string& name : fixture_names()) {
    TempDir dir;
    copy_with_config(fixture_folder(name), dir / "m", [](Json& config) { set_dropout(config, 0.1); });
    const Model model = load_model(dir / "m");
    const auto task = make_task(model);
    const RandomFeatures features(model, 10, 40);
    const Sum whole = accumulate(model, *task, features, {10});
    const double norm = l2_norm(whole.gradients);
    ASSERT_GT(norm, 0.01) << name;
    for (const std::vector<int64_t>& pieces :
         {std::vector<int64_t>{4, 4, 2}, {5, 5}, {1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, {9, 1}}) {
      const Sum cut = accumulate(model, *task, features, pieces);
      EXPECT_NEAR(cut.loss, whole.loss, 1e-6 * std::max(1.0, whole.loss)) << name;
      EXPECT_LE(largest_difference(cut.gradients, whole.gradients), 3e-6 * norm) << name;
    }
    // Dropout was there: another seed gives another gradient.
    const Sum other = accumulate(model, *task, features, {10}, 43);
    EXPECT_GT(largest_difference(other.gradients, whole.gradients), 1e-3 * norm) << name;
  }
}

TEST(Accumulation, AMicroBatchWithoutLabelsAddsNothing) {
  GRAFT_SHARED_PATH(folder, "golden/bert/mlm");
  const Model model = load_model(folder);
  const auto task = make_task(model);
  const RandomFeatures features(model, 6, 40);
  models::State& state = model.state();
  data::RaggedBatch labelled = features.batch(6), without = labelled;
  without.label_rows.clear();
  without.labels.clear();
  state.parameters.allocate_grads();
  StepMemory memory;
  const double terms = task->loss_terms(labelled);
  std::vector<std::vector<float>> gradients;
  for (const bool both : {false, true}) {
    state.parameters.clear_grads();
    accumulate_gradients(state, *task, labelled, terms, 42, 0, true, memory);
    if (both) {
      EXPECT_EQ(accumulate_gradients(state, *task, without, terms, 42, 0, true, memory), 0);
    }
    gradients.push_back(all_gradients(state));
  }
  EXPECT_EQ(gradients[0], gradients[1]);
}

// What the log of a run says step by step.
std::vector<LogEntry> logged_run(const TinyRun& run, Model model, TrainingArguments a, const Dataset& data) {
  a.logging_strategy = "steps";
  a.logging_steps = 1;
  std::vector<LogEntry> log;
  Trainer trainer(std::move(model), a, {data, {}, run.tokenizer()});
  trainer.train({.on_log = [&](const LogEntry& e) { log.push_back(e); }});
  return log;
}

// 14 examples in batches of 4: windows of three batches are 4+4+4 and 2, as batches of 12 are 12 and 2.
TEST(Accumulation, RunsOfTheTrainerAgreeLastPartialWindowIncluded) {
  const TinyRun run;
  const Dataset data = Dataset::from_file(run.single_csv("train.csv", 14, 1));
  TrainingArguments a = run.arguments();
  a.train_sampling_strategy = "sequential";
  a.num_train_epochs = 2;
  a.learning_rate = 1e-4;
  a.per_device_train_batch_size = 12;
  const auto model = [&] { return run.model("sequence-classification", {"red", "green", "blue"}, 0.1); };
  const std::vector<LogEntry> big = logged_run(run, model(), a, data);
  a.per_device_train_batch_size = 4;
  a.gradient_accumulation_steps = 3;
  const std::vector<LogEntry> cut = logged_run(run, model(), a, data);
  ASSERT_EQ(big.size(), 4u);
  ASSERT_EQ(cut.size(), 4u);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_NEAR(value_of(cut[i], "loss"), value_of(big[i], "loss"), 1e-5) << i;
    EXPECT_NEAR(value_of(cut[i], "grad_norm"), value_of(big[i], "grad_norm"),
                1e-4 * value_of(big[i], "grad_norm"))
        << i;
    EXPECT_EQ(value_of(cut[i], "learning_rate"), value_of(big[i], "learning_rate")) << i;
  }
}

TEST(Accumulation, RunsOfMaskedLmAgree) {
  const TinyRun run;
  const auto file = run.text("train.txt", 20, 1);
  std::vector<std::vector<double>> losses;
  for (const auto& [size, accumulation] : {std::pair<int, int>{12, 1}, {4, 3}}) {
    TrainingArguments a = run.arguments();
    a.line_by_line = true;
    a.train_sampling_strategy = "sequential";
    a.num_train_epochs = 1;
    a.learning_rate = 1e-4;
    a.logging_strategy = "steps";
    a.logging_steps = 1;
    a.per_device_train_batch_size = size;
    a.gradient_accumulation_steps = accumulation;
    Trainer trainer(run.model("masked-lm", {}, 0.1), a, TaskData::text({file}, {}, run.tokenizer()));
    losses.emplace_back();
    trainer.train({.on_log = [&](const LogEntry& e) { losses.back().push_back(value_of(e, "loss")); }});
  }
  ASSERT_EQ(losses[0].size(), 2u);
  ASSERT_EQ(losses[1].size(), 2u);
  for (size_t i = 0; i < 2; ++i) EXPECT_NEAR(losses[0][i], losses[1][i], 1e-5) << i;
}

TEST(SameSeed, GivesTheSameBitsForAnyNumberOfThreads) {
  const TinyRun run;
  const Dataset data = Dataset::from_file(run.single_csv("train.csv", 60, 1));
  for (const char* type : {"bert", "distilbert"}) {
    TrainingArguments a = run.arguments();
    a.num_train_epochs = 2;
    a.weight_decay = 0.01;
    a.warmup_ratio = 0.1;
    a.gradient_accumulation_steps = 2;
    const auto trained = [&] {
      Trainer trainer(run.model("sequence-classification", {"red", "green", "blue"}, 0.1, type), a,
                      {data, {}, run.tokenizer()});
      trainer.train();
      return all_values(load_model(a.output_dir));
    };
    for (const bool bf16 : {true, false}) {
      a.bf16 = bf16;
      expect_thread_free(std::string(type) + (bf16 ? " in bf16" : " in fp32"), trained);
    }
    const std::vector<float> before = trained();
    a.seed = 43;
    EXPECT_FALSE(same_bits(before, trained()));
  }
}

TEST(SameSeed, MaskedLmGivesTheSameBitsForAnyNumberOfThreads) {
  const TinyRun run;
  const auto file = run.text("train.txt", 60, 1);
  TrainingArguments a = run.arguments();
  a.num_train_epochs = 2;
  a.whole_word_mask = true;
  for (const bool bf16 : {true, false}) {
    a.bf16 = bf16;
    expect_thread_free(bf16 ? "masked-lm in bf16" : "masked-lm in fp32", [&] {
      Trainer trainer(run.model("masked-lm", {}, 0.1), a, TaskData::text({file}, {}, run.tokenizer()));
      trainer.train();
      return all_values(load_model(a.output_dir));
    });
  }
}

}  // namespace
}  // namespace graft::train
