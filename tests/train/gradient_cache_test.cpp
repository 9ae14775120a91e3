// A cached step equals one pass over the whole step, with dropout.
#include "train/gradient_cache.h"

#include <cmath>
#include <tuple>

#include "models/model_case.h"
#include "tasks/task_table.h"
#include "train/parts.h"
#include "train/tiny_run.h"

namespace graft::train {
namespace {

using namespace test;

struct GradientCache : testing::Test {
  TinyRun run;
  Dataset pairs(int n, int negatives = 1) const {
    std::vector<Example> examples(static_cast<size_t>(n));
    const char* colours[] = {"red", "green", "blue"};
    for (int i = 0; i < n; ++i) {
      Example& e = examples[static_cast<size_t>(i)];
      e.text = std::string(colours[i % 3]) + (i % 2 ? " up" : " down down");
      e.text_pair = std::string(colours[i % 3]) + " ba be bi";
      e.has_pair = true;
      for (int k = 0; k < negatives; ++k) e.negatives.push_back(std::string(colours[(i + 1) % 3]) + " bo");
    }
    return Dataset(std::move(examples));
  }
  tasks::PreparedTask prepare(Model& model, const Dataset& data, const std::string& loss) const {
    tasks::FeatureSettings settings;
    settings.max_seq_length = 40;
    settings.loss = loss;
    return tasks::task_of(model).prepare(model, {data, {}, run.tokenizer()}, settings);
  }
};

TEST_F(GradientCache, EqualsOnePassOverTheWholeStep) {
  for (const std::string loss : {"MultipleNegativesRankingLoss", "MultipleNegativesSymmetricRankingLoss"}) {
    Model model = run.model("sentence-embedding", {}, 0.1);
    models::State& state = model.state();
    const tasks::PreparedTask prepared = prepare(model, pairs(13), loss);
    std::vector<int64_t> all(13);
    for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<int64_t>(12 - i);
    StepBatches whole, parts;
    whole.fill(*prepared.train, {all}, 0);
    state.parameters.allocate_grads();
    const double terms = total_of(*prepared.task, whole).terms;
    EXPECT_EQ(terms, 13);
    StepMemory memory;
    state.parameters.clear_grads();
    memory.prepare(state, prepared.task.get(), whole.last(), true);
    const double expected =
        accumulate_gradients(state, *prepared.task, whole.last(), terms, 5, 3, true, memory);
    const std::vector<float> gradients = all_gradients(state);
    for (const int64_t size : {1, 4, 13}) {
      parts.fill(*prepared.train, mini_batches({all}, size), 0);
      state.parameters.clear_grads();
      const std::atomic<bool> stop = false;
      const std::optional<double> got =
          cached_gradients(state, *prepared.task, parts, whole.last(), {terms, 5, 3}, memory, stop);
      ASSERT_TRUE(got.has_value());
      EXPECT_NEAR(*got, expected, 1e-6) << size;
      EXPECT_LE(largest_difference(all_gradients(state), gradients), 2e-6 * std::max(1.0, l2_norm(gradients)))
          << size;
    }
  }
}

TEST_F(GradientCache, AStepIsCutIntoMiniBatches) {
  EXPECT_EQ(mini_batches({{5, 1, 2}, {7, 8}}, 2), (std::vector<std::vector<int64_t>>{{5, 1}, {2, 7}, {8}}));
  EXPECT_EQ(mini_batches({{5}}, 32), (std::vector<std::vector<int64_t>>{{5}}));
}

TEST_F(GradientCache, StopsOnRequest) {
  Model model = run.model("sentence-embedding", {});
  const tasks::PreparedTask prepared = prepare(model, pairs(4), "");
  StepBatches whole;
  whole.fill(*prepared.train, {{0, 1, 2, 3}}, 0);
  model.state().parameters.allocate_grads();
  StepMemory memory;
  const std::atomic<bool> stop = true;
  EXPECT_FALSE(
      cached_gradients(model.state(), *prepared.task, whole, whole.last(), {}, memory, stop).has_value());
}

// Accumulated batches of 4 with the cache train as a batch of 16 does.
TEST_F(GradientCache, WithAccumulationItIsTheBigBatch) {
  const auto trained = [&](int64_t batch, int64_t accumulation, bool cache) {
    TrainingArguments a = run.arguments();
    a.per_device_train_batch_size = batch;
    a.gradient_accumulation_steps = accumulation;
    a.gradient_cache = cache;
    a.mini_batch_size = 3;
    a.max_steps = 4;
    const Model model = run.model("sentence-embedding", {}, 0.1);
    Trainer trainer(model, a, {pairs(48, 0), {}, run.tokenizer()});
    const TrainResult r = trainer.train();
    return std::tuple(r.training_loss, all_values(model), trainer.parts().memory.bytes());
  };
  const auto [big_loss, big, big_bytes] = trained(16, 1, false);
  const auto [cached_loss, cached, cached_bytes] = trained(4, 4, true);
  const auto [small_loss, small, small_bytes] =
      trained(4, 4, false);  // its negatives are those of 4 examples
  EXPECT_LT(cached_bytes, small_bytes);
  EXPECT_EQ(std::get<2>(trained(16, 1, true)), cached_bytes);  // a mini-batch's, whatever the batch is
  EXPECT_GT(big_bytes, small_bytes);
  EXPECT_NEAR(cached_loss, big_loss, 1e-5);
  // AdamW turns the rounding of a tiny gradient into a step: the run as a whole is compared.
  const std::vector<float> start = all_values(run.model("sentence-embedding", {}, 0.1));
  double apart = 0, moved = 0;
  for (size_t i = 0; i < big.size(); ++i) {
    apart += std::pow(double{cached[i]} - big[i], 2);
    moved += std::pow(double{big[i]} - start[i], 2);
  }
  EXPECT_LE(apart, 1e-6 * moved);
  EXPECT_LT(small_loss, big_loss - 0.5);
}

}  // namespace
}  // namespace graft::train
