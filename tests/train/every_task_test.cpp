// What holds for every task: accumulated batches are the big batch, an evaluation does not depend on its
// batch size, and nothing depends on the number of threads.
#include "train/every_task.h"

#include <algorithm>
#include <cmath>

#include "models/model_case.h"
#include "train/arguments.h"
#include "train/metric_names.h"
#include "train/parts.h"

namespace graft::train {
namespace {
using namespace graft::test;

struct TaskRun {
  std::vector<double> losses, norms;
  std::vector<float> values;
};

TaskRun train_task(const EveryTask& tasks, const TaskCase& c, const TaskData& data, TrainingArguments a) {
  a.logging_strategy = "steps";
  a.logging_steps = 1;
  TaskRun out;
  const Model model = tasks.model(c);
  Trainer trainer(model, a, data);
  trainer.train({.on_log = [&](const LogEntry& e) {
    if (e.front().first != "loss") return;
    out.losses.push_back(value_of(e, "loss"));
    out.norms.push_back(value_of(e, "grad_norm"));
  }});
  out.values = all_values(model);
  return out;
}

// 28 examples, dropout on: windows of three batches of 8 are 8 + 8 + 8 and 4, as batches of 24 are 24 and 4.
TEST(EveryTask, AccumulatedBatchesEqualTheBigOne) {
  const EveryTask tasks;
  for (const TaskCase& c : every_task()) {
    const TaskData data = tasks.data(c, 28, 0);
    TrainingArguments a = tasks.arguments(c);
    a.train_sampling_strategy = "sequential";
    a.num_train_epochs = 2;
    a.learning_rate = 1e-3;
    a.adam_epsilon = 1e-3;  // a step is smooth in the gradient: rounding stays rounding
    a.per_device_train_batch_size = 24;
    const TaskRun whole = train_task(tasks, c, data, a);
    a.per_device_train_batch_size = 8;
    a.gradient_accumulation_steps = 3;
    a.mini_batch_size = 5;
    const TaskRun cut = train_task(tasks, c, data, a);
    ASSERT_EQ(whole.losses.size(), 4u) << c.name();
    ASSERT_EQ(cut.losses.size(), 4u) << c.name();
    for (size_t i = 0; i < 4; ++i) {
      EXPECT_NEAR(cut.losses[i], whole.losses[i], 1e-5 * std::max(1.0, whole.losses[i])) << c.name() << i;
      EXPECT_NEAR(cut.norms[i], whole.norms[i], 1e-4 * whole.norms[i]) << c.name() << i;
    }
    EXPECT_LE(largest_difference(cut.values, whole.values), 5e-6) << c.name();
    // Dropout was on: another seed trains to other weights.
    a.seed = 43;
    EXPECT_GT(largest_difference(train_task(tasks, c, data, a).values, whole.values), 1e-4) << c.name();
  }
}

// Loss and metrics, to the last bit. Not the loss of in-batch negatives: there a batch is what the others are
// compared with, in the reference too.
TEST(EveryTask, EvaluationDoesNotDependOnTheBatchSize) {
  const EveryTask tasks;
  for (const TaskCase& c : every_task()) {
    const TaskData data = tasks.data(c, 8, 23);
    LogEntry first;
    for (const int64_t size : {1, 4, 23, 64}) {
      TrainingArguments a = tasks.arguments(c);
      a.per_device_eval_batch_size = size;
      a.predict_with_generate = std::string(c.task->head->task) == "seq2seq-lm";
      a.generation_max_length = a.predict_with_generate ? 6 : 0;
      Trainer trainer(tasks.model(c), a, data);
      const LogEntry metrics = trainer.evaluate();
      if (first.empty()) first = metrics;
      ASSERT_EQ(metrics.size(), first.size()) << c.name();
      for (size_t i = 0; i < metrics.size(); ++i) {
        const std::string& name = metrics[i].first;
        if (name == "eval_loss" && trainer.parts().features.task->couples_examples()) continue;
        if (name.find("runtime") != std::string::npos || name.find("per_second") != std::string::npos)
          continue;
        if (std::isnan(first[i].second)) {
          EXPECT_TRUE(std::isnan(metrics[i].second)) << c.name() << " " << name;
        } else {
          EXPECT_EQ(metrics[i].second, first[i].second) << c.name() << " " << name << " " << size;
        }
      }
    }
  }
}

// With the options that add metrics, and names of the types of entities.
TEST(EveryTask, NamesOfAllItsMetricsAreKnownBeforeAnEvaluation) {
  const EveryTask tasks;
  for (const TaskCase& c : every_task()) {
    TrainingArguments a = tasks.arguments(c);
    a.skip_memory_metrics = false;
    for (const std::string name : c.task->own_options)
      if (name == "return_entity_level_metrics" || name == "version_2_with_negative")
        set_argument(a, name, "true");
    Trainer trainer(tasks.model(c), a, tasks.data(c, 8, 23));
    const std::vector<std::string> before = evaluation_names(trainer.parts());
    const LogEntry metrics = trainer.evaluate();
    EXPECT_GE(metrics.size(), 5u) << c.name();
    for (const auto& [name, value] : metrics)
      EXPECT_TRUE(std::find(before.begin(), before.end(), name) != before.end()) << c.name() << " " << name;
    EXPECT_THAT(error_of([&] { check_metric("acuracy", before); }), testing::HasSubstr("no eval_acuracy"))
        << c.name();
  }
}

TEST(EveryTask, TrainingHasTheSameBitsForAnyNumberOfThreads) {
  const EveryTask tasks;
  for (const TaskCase& c : every_task()) {
    const TaskData data = tasks.data(c, 20, 9);
    TrainingArguments a = tasks.arguments(c);
    a.max_steps = 2;
    a.gradient_accumulation_steps = 2;
    a.per_device_train_batch_size = 5;
    for (const bool bf16 : {true, false}) {
      a.bf16 = bf16;
      expect_thread_free(c.name() + (bf16 ? " in bf16" : " in fp32"), [&] {
        const Model model = tasks.model(c);
        Trainer trainer(model, a, data);
        std::vector<float> out = all_values(model);
        for (const auto& [name, value] : trainer.train().metrics)
          if (name == "eval_loss") out.push_back(static_cast<float>(value));
        const std::vector<float> values = all_values(model);
        out.insert(out.end(), values.begin(), values.end());
        return out;
      });
    }
  }
}

}  // namespace
}  // namespace graft::train
