// Batches of so many tokens (max_tokens_per_batch) in whole runs.
#include <cmath>

#include "models/model_case.h"
#include "support/thread_collective.h"
#include "train/parts.h"
#include "train/step_batches.h"
#include "train/tiny_run.h"

namespace graft::train {
namespace {
using namespace graft::test;
using testing::AllOf;
using testing::HasSubstr;

struct TokenRun {
  std::vector<LogEntry> log;
  TrainResult result;
  std::vector<float> values;
};

class TokenBatches : public testing::Test {
 protected:
  TrainingArguments arguments() const {
    TrainingArguments a = run_.arguments();
    a.num_train_epochs = 2;
    a.learning_rate = 1e-3;
    a.adam_epsilon = 1e-3;  // a step is smooth in the gradient
    a.logging_strategy = "steps";
    a.logging_steps = 1;
    return a;
  }
  Model model() const { return run_.model("sequence-classification", {"blue", "green", "red"}, 0.1); }
  TokenRun train(const TrainingArguments& a) const {
    TokenRun out;
    const Model m = model();
    Trainer trainer(m, a, {data_, data_, run_.tokenizer()});
    out.result = trainer.train({.on_log = [&](const LogEntry& e) { out.log.push_back(e); }});
    out.values = all_values(m);
    return out;
  }
  TinyRun run_;
  const Dataset data_ = Dataset::from_file(run_.single_csv("train.csv", 37, 1));
};

TEST_F(TokenBatches, ARunHasThePlannedSteps) {
  TrainingArguments a = arguments();
  a.max_tokens_per_batch = 40;
  const TokenRun run = train(a);
  Trainer prepared(model(), a, {data_, {}, run_.tokenizer()});
  int64_t tokens = 0;
  const tasks::Features& features = *prepared.parts().features.train;
  for (int64_t i = 0; i < features.size(); ++i) tokens += features.length(i);
  EXPECT_GE(run.result.global_step, 2 * ((tokens + 39) / 40));
  EXPECT_LE(run.result.global_step, 2 * (tokens / 32 + 1));  // a sentence has 9 tokens at most
  // The rate falls linearly to the last planned step: the schedule was made for them.
  std::vector<double> rates;
  for (const LogEntry& e : run.log)
    if (e.front().first == "loss") rates.push_back(value_of(e, "learning_rate"));
  ASSERT_EQ(std::ssize(rates), run.result.global_step);
  EXPECT_NEAR(rates.back(), a.learning_rate / static_cast<double>(rates.size()), 1e-9);
}

// The loss of a step is a sum over its terms: windows of batches of 40 tokens against the same examples at
// once.
TEST_F(TokenBatches, AccumulatedOnesEqualTheirUnion) {
  TrainingArguments a = arguments();
  a.train_sampling_strategy = "sequential";
  a.max_tokens_per_batch = 40;
  a.gradient_accumulation_steps = 1000;
  const TokenRun cut = train(a);
  a.max_tokens_per_batch = 1 << 20;
  a.gradient_accumulation_steps = 1;
  const TokenRun whole = train(a);
  ASSERT_EQ(cut.result.global_step, 2);
  ASSERT_EQ(whole.result.global_step, 2);
  EXPECT_NEAR(cut.result.training_loss, whole.result.training_loss, 1e-6);
  EXPECT_LE(largest_difference(cut.values, whole.values), 2e-6);
}

TEST_F(TokenBatches, EvaluationIsTheSame) {
  TrainingArguments a = arguments();
  a.learning_rate = 0;
  a.eval_strategy = "epoch";
  const TokenRun by_examples = train(a);
  a.max_tokens_per_batch = 40;
  const TokenRun by_tokens = train(a);
  for (const char* name : {"eval_loss", "eval_accuracy"})
    EXPECT_EQ(value_of(by_tokens.result.metrics, name), value_of(by_examples.result.metrics, name)) << name;
}

// A rank gets a batch of its own, at most 40 tokens, and both together train like one process that
// accumulates.
TEST_F(TokenBatches, RanksTrainLikeAccumulation) {
  TrainingArguments a = arguments();
  a.max_tokens_per_batch = 40;
  a.num_train_epochs = 1;
  a.train_sampling_strategy = "sequential";
  std::vector<TokenRun> outcomes(2);
  std::vector<Model> models;
  for (int r = 0; r < 2; ++r) models.push_back(model());
  run_ranks(2, [&](engine::Collective& collective) {
    const auto rank = static_cast<size_t>(collective.rank());
    TrainingArguments mine = a;
    mine.output_dir = (run_ / ("rank" + std::to_string(rank))).string();
    Trainer trainer(models[rank], mine, {data_, {}, run_.tokenizer()});
    trainer.parts().collective = &collective;
    outcomes[rank].result = trainer.train();
    outcomes[rank].values = all_values(models[rank]);
  });
  a.gradient_accumulation_steps = 2;
  const TokenRun one = train(a);
  EXPECT_EQ(outcomes[0].result.global_step, one.result.global_step);
  EXPECT_TRUE(same_bits(outcomes[0].values, outcomes[1].values));
  EXPECT_LE(largest_difference(outcomes[0].values, one.values), 2e-6);
}

TEST_F(TokenBatches, ARankTakesABatchOfItsOwn) {
  Trainer trainer(model(), arguments(), {data_, {}, run_.tokenizer()});
  const tasks::Features& features = *trainer.parts().features.train;
  run_ranks(3, [&](engine::Collective& collective) {
    StepBatches batches;
    std::vector<int64_t> examples;
    for (int64_t i = 0, tokens = 0; tokens < 50; tokens += features.length(i++)) examples.push_back(i);
    batches.fill(features, {examples}, 0, collective, 30);
    EXPECT_LE(batches.tokens(), 30);
    double n = static_cast<double>(batches.last().num_examples());
    collective.all_reduce(&n, 1);
    EXPECT_EQ(n, static_cast<double>(examples.size()));
  });
}

TEST_F(TokenBatches, AreRefusedWhereTheyCannotBe) {
  TrainingArguments a = arguments();
  a.max_tokens_per_batch = 4;
  EXPECT_THAT(error_of([&] { train(a); }),
              AllOf(HasSubstr("--max_tokens_per_batch is 4"), HasSubstr("or more")));
  a.max_tokens_per_batch = 1 << 20;
  a.dataloader_drop_last = true;
  EXPECT_THAT(error_of([&] { train(a); }), AllOf(HasSubstr("does not fill one batch of 1048576 tokens"),
                                                 HasSubstr("--max_tokens_per_batch")));
  a.gradient_cache = true;
  EXPECT_THAT(error_of([&] { train(a); }), HasSubstr("--mini_batch_size"));
}

}  // namespace
}  // namespace graft::train
