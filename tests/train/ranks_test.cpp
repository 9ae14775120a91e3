// Data parallel training: two ranks with half of each batch against one with all of it.
#include <gtest/gtest.h>

#include <cmath>

#include "base/file.h"
#include "models/model_case.h"
#include "support/thread_collective.h"
#include "train/elementwise_optimizer.h"
#include "train/gradient_cache.h"
#include "train/parts.h"
#include "train/tiny_run.h"

namespace graft::train {
namespace {
namespace fs = std::filesystem;

using namespace graft::test;
using engine::Collective;
using testing::ElementsAre;

// What a rank has at the end.
struct Outcome {
  std::vector<float> values;
  TrainResult result;
  std::vector<double> losses;
};

class Ranks : public testing::Test {
 protected:
  // With this epsilon a step is smooth in the gradient: rounding stays rounding.
  TrainingArguments arguments(int ranks) const {
    TrainingArguments a = run_.arguments();
    a.per_device_train_batch_size = 8 / ranks;
    a.gradient_accumulation_steps = 2;
    a.num_train_epochs = 2;
    a.learning_rate = 1e-2;
    a.adam_epsilon = 1e-3;
    a.weight_decay = 0.01;
    a.line_by_line = true;  // of masked-lm
    a.eval_strategy = "epoch";
    a.save_strategy = "epoch";
    a.logging_strategy = "steps";
    a.logging_steps = 1;
    return a;
  }

  using MakeModel = std::function<Model(int rank)>;
  std::vector<Outcome> train(int ranks, const MakeModel& model, const std::function<TaskData()>& data,
                             const std::string& out, int stop_at = -1) const {
    std::vector<Outcome> outcomes(static_cast<size_t>(ranks));
    std::vector<Model> models;  // made by one thread: they share a file
    for (int r = 0; r < ranks; ++r) models.push_back(model(r));
    run_ranks(ranks, [&](Collective& collective) {
      Outcome& mine = outcomes[static_cast<size_t>(collective.rank())];
      TrainingArguments a = arguments(ranks);
      a.output_dir = (run_ / (out + std::to_string(collective.rank()))).string();
      const Model& m = models[static_cast<size_t>(collective.rank())];
      Trainer t(m, a, data());
      t.parts().collective = &collective;
      Observer observer;
      observer.on_log = [&](const LogEntry& e) {
        if (e.front().first == "loss") mine.losses.push_back(e.front().second);
      };
      // Only one rank is asked to stop.
      observer.should_stop = [&, steps = 0]() mutable {
        return collective.rank() == 0 && ++steps == stop_at;
      };
      mine.result = t.train(observer);
      mine.values = all_values(m);
    });
    return outcomes;
  }

  void expect_equal(const std::vector<Outcome>& two, const Outcome& one) const {
    EXPECT_TRUE(same_bits(two[0].values, two[1].values));
    EXPECT_LE(largest_difference(two[0].values, one.values), 2e-6);
    ASSERT_EQ(two[0].losses.size(), one.losses.size());
    for (size_t i = 0; i < one.losses.size(); ++i) EXPECT_NEAR(two[0].losses[i], one.losses[i], 1e-6) << i;
    EXPECT_EQ(two[0].losses, two[1].losses);
    for (const auto& [name, value] : one.result.metrics) {
      if (name.find("runtime") != std::string::npos || name.find("per_second") != std::string::npos) continue;
      for (const Outcome& rank : two)
        EXPECT_NEAR(value_of(rank.result.metrics, name), value, 1e-6 * std::max(1.0, std::fabs(value)))
            << name;
    }
  }
  TinyRun run_;
};

TEST_F(Ranks, HalvesOfABatchTrainLikeTheWhole) {
  // 37 examples in windows of 2 x 8: the last batch has 5, and one rank takes 2 of them.
  const Dataset train_set = Dataset::from_file(run_.single_csv("train.csv", 37, 1)),
                eval_set = Dataset::from_file(run_.single_csv("eval.csv", 11, 2));
  const auto data = [&] { return TaskData{train_set, eval_set, run_.tokenizer()}; };
  // Rank 1 begins with other weights: those of rank 0 count.
  const auto model = [&](int rank) {
    return run_.model("sequence-classification", {"blue", "green", "red"}, 0.1, "bert",
                      static_cast<uint64_t>(42 + rank));
  };
  const std::vector<Outcome> one = train(1, model, data, "one"), two = train(2, model, data, "two");
  EXPECT_EQ(one[0].result.global_step, 6);
  expect_equal(two, one[0]);
  EXPECT_TRUE(fs::exists(run_ / "two0/checkpoint-3/model.safetensors"));
  EXPECT_TRUE(fs::exists(run_ / "two0/config.json"));
  EXPECT_FALSE(fs::exists(run_ / "two1"));  // only rank 0 writes
}

TEST_F(Ranks, TrainMaskedLmAndMoreRanksThanExamplesLeft) {
  const auto text = run_.text("train.txt", 33, 1), eval = run_.text("eval.txt", 8, 2);
  const auto data = [&] { return TaskData::text({text}, {eval}, run_.tokenizer()); };
  const auto model = [&](int) { return run_.model("masked-lm", {}, 0.1); };
  const std::vector<Outcome> one = train(1, model, data, "one"), two = train(2, model, data, "two");
  expect_equal(two, one[0]);  // the 33rd line: one rank has nothing in that batch
}

// Each rank would have the outputs of its own share of the mini-batches.
TEST(RanksOfAGradientCache, AreRefusedByName) {
  run_ranks(2, [](Collective& collective) {
    TrainingArguments a;
    EXPECT_NO_THROW(check_ranks(a, collective));
    a.gradient_cache = true;
    EXPECT_THAT(error_of([&] { check_ranks(a, collective); }),
                testing::HasSubstr("--gradient_cache true is refused with 2 processes"));
    EXPECT_NO_THROW(check_ranks(a, engine::single_process()));
  });
}

TEST_F(Ranks, StopTogether) {
  const Dataset train_set = Dataset::from_file(run_.single_csv("train.csv", 37, 1));
  const auto data = [&] { return TaskData{train_set, train_set, run_.tokenizer()}; };
  const auto model = [&](int) {
    return run_.model("sequence-classification", {"blue", "green", "red"}, 0.1);
  };
  const std::vector<Outcome> two = train(2, model, data, "two", 2);
  for (const Outcome& rank : two) {
    EXPECT_TRUE(rank.result.interrupted);
    EXPECT_EQ(rank.result.global_step, 2);
  }
  EXPECT_TRUE(same_bits(two[0].values, two[1].values));
}

// Ids that one rank met in another order, that both met, that only one met.
TEST(SumGradients, RowsAreSummedByIdAndIdsAscend) {
  run_ranks(2, [](Collective& collective) {
    engine::ParameterStore store;
    engine::Parameter table, dense;
    table.name = "table";
    table.shape = {10, 2};
    table.row_sparse = true;
    dense.name = "dense";
    dense.shape = {3};
    const engine::Parameter &t = store.add(table), &d = store.add(dense);
    store.allocate();
    store.allocate_grads();
    engine::SparseGrad& g = store.sparse_grad(t);
    const std::vector<int32_t> ids =
        collective.rank() == 0 ? std::vector<int32_t>{7, 2} : std::vector<int32_t>{9, 7, 0};
    for (size_t i = 0; i < ids.size(); ++i) {
      g.slot_of[static_cast<size_t>(ids[i])] = static_cast<int32_t>(i);
      g.ids.push_back(ids[i]);
    }
    g.rows.resize(static_cast<int64_t>(2 * ids.size()));
    for (int64_t i = 0; i < g.rows.size(); ++i)
      g.rows.data()[i] = static_cast<float>(10 * (collective.rank() + 1) + i);
    if (collective.rank() == 1) {  // rank 0's backward passes did not reach it: stale numbers
      store.parameters()[1].has_grad = true;
      std::fill_n(store.grad(d), 3, 5.0f);
    } else {
      std::fill_n(store.grad(d), 3, 77.0f);
    }
    engine::sum_gradients(store, collective);
    EXPECT_THAT(g.ids, ElementsAre(0, 2, 7, 9));
    EXPECT_THAT(std::vector<float>(g.rows.data(), g.rows.data() + g.rows.size()),
                ElementsAre(24, 25, 12, 13, 10 + 22, 11 + 23, 20, 21));
    EXPECT_EQ(g.slot_of[9], 3);
    EXPECT_EQ(g.slot_of[1], -1);
    EXPECT_THAT(std::vector<float>(store.grad(d), store.grad(d) + 3), ElementsAre(5, 5, 5));
  });
}

TEST(Collectives, OneProcessDoesNothing) {
  Collective& one = engine::single_process();
  double x = 3;
  one.all_reduce(&x, 1);
  one.barrier();
  EXPECT_EQ(x, 3);
  EXPECT_EQ(one.size(), 1);
  EXPECT_EQ(engine::share_of(7, one), (std::pair<int64_t, int64_t>(0, 7)));
  run_ranks(3, [](Collective& c) {
    const auto [begin, end] = engine::share_of(7, c);
    double n = static_cast<double>(end - begin);
    c.all_reduce(&n, 1);
    EXPECT_EQ(n, 7);
    float value = static_cast<float>(c.rank());
    c.broadcast(&value, 1, 2);
    EXPECT_EQ(value, 2);
  });
}

}  // namespace
}  // namespace graft::train
