// Examples of several sequences with a label each (multiple choice), and sequences with spans (question
// answering): trained, evaluated and planned through the same code as all other tasks.
#include <gtest/gtest.h>

#include <fmt/format.h>

#include "base/philox.h"
#include "models/model_case.h"
#include "tasks/multiple_choice.h"
#include "tasks/question_answering.h"
#include "train/memory_needs.h"
#include "train/step_batches.h"
#include "train/tiny_run.h"
#include "train/trained_model.h"

namespace graft::train {
namespace {

using namespace graft::test;
using engine::Tape;
using testing::AllOf;
using testing::HasSubstr;

class Sequences : public testing::TestWithParam<const tasks::TaskEntry*> {
 protected:
  bool is_choice() const { return GetParam() == &tasks::multiple_choice_task(); }

  // Words, with "red" or "red green" among them if `red`.
  static std::string text(PhiloxStream& draws, bool red, std::string& found) {
    std::string out;
    const uint64_t words = 2 + draws.below(5), at = draws.below(words);
    for (uint64_t i = 0; i < words; ++i) {
      if (i == at && red) {
        found = draws.below(2) ? "red green" : "red";
        out += found + " ";
      }
      out += {"bdfgklmn"[draws.below(8)], "aeiou"[draws.below(5)], ' '};
    }
    return out;
  }

  // Choices: two or three texts, of which one holds "red". Questions: where is "red", with what follows it?
  Dataset dataset(int n, uint64_t seed) const {
    PhiloxStream draws(philox_key(seed, 0, "pairs"));
    std::vector<Example> examples(static_cast<size_t>(n));
    for (Example& e : examples) {
      std::string found;
      e.text = "up";
      e.has_pair = true;
      if (is_choice()) {
        const uint64_t choices = 2 + draws.below(2), right = draws.below(choices);
        for (uint64_t c = 0; c < choices; ++c) e.choices.push_back(text(draws, c == right, found));
        e.labels = {std::to_string(right)};
      } else {
        e.text_pair = text(draws, true, found);
        e.answers = {{found, static_cast<int64_t>(e.text_pair.find(found))}};
      }
    }
    return Dataset(std::move(examples));
  }
  TaskData data() const { return {dataset(240, 1), dataset(61, 2), run_.tokenizer()}; }
  Model model(double dropout) const { return run_.model(GetParam()->head->task, {}, dropout); }
  TrainingArguments arguments() const {
    TrainingArguments a = run_.arguments();
    a.max_seq_length = 9;  // some contexts have two windows
    a.doc_stride = 3;
    return a;
  }
  tasks::PreparedTask prepared(Model& model) const {
    tasks::FeatureSettings settings;
    settings.max_seq_length = 9;
    settings.questions.doc_stride = 3;
    return tasks::task_of(model).prepare(model, data(), settings);
  }
  TinyRun run_;
};

INSTANTIATE_TEST_SUITE_P(Tasks, Sequences,
                         testing::Values(&tasks::multiple_choice_task(), &tasks::question_answering_task()),
                         [](const auto& info) {
                           return std::string(info.param == &tasks::multiple_choice_task() ? "choices"
                                                                                           : "spans");
                         });

TEST_P(Sequences, OfOneExampleTrainAndEvaluateTogether) {
  TrainingArguments a = arguments();
  a.num_train_epochs = 8;
  a.do_eval = true;
  const TrainResult result = Trainer(model(0.05), a, data()).train();
  if (is_choice()) {
    EXPECT_GT(value_of(result.metrics, "eval_accuracy"), 0.9);
    EXPECT_EQ(value_of(result.metrics, "eval_samples"), 61);
  } else {
    EXPECT_GT(value_of(result.metrics, "eval_exact_match"), 90);
    EXPECT_GE(value_of(result.metrics, "eval_f1"), value_of(result.metrics, "eval_exact_match"));
    EXPECT_EQ(value_of(result.metrics, "eval_total"), 61);
    EXPECT_GT(value_of(result.metrics, "eval_samples"), 61);  // windows
  }
  Trainer again(load_trained(run_ / "out", GetParam()->head->task), a, {{}, data().eval, run_.tokenizer()});
  EXPECT_EQ(value_of(again.evaluate(), "eval_loss"), value_of(result.metrics, "eval_loss"));
}

TEST_P(Sequences, EvaluationDoesNotDependOnTheBatchSize) {
  TrainingArguments a = arguments();
  std::vector<double> losses, exact;
  for (const int64_t size : {1, 7, 64}) {
    a.per_device_eval_batch_size = size;
    const LogEntry entry = Trainer(model(0), a, data()).evaluate();
    losses.push_back(value_of(entry, "eval_loss"));
    exact.push_back(value_of(entry, is_choice() ? "eval_accuracy" : "eval_f1"));
  }
  EXPECT_EQ(losses, std::vector<double>(3, losses[0]));
  EXPECT_EQ(exact, std::vector<double>(3, exact[0]));
}

// Logits of a step with dropout, example by example, however the step is cut into batches.
TEST_P(Sequences, DropoutKeepsItsBitsOverBatchSizesAndAccumulation) {
  Model m = model(0.1);
  const tasks::PreparedTask task = prepared(m);
  const auto logits = [&](const std::vector<std::vector<int64_t>>& cut) {
    StepBatches batches;
    batches.fill(*task.train, cut, 0, engine::single_process());
    std::vector<float> out;
    for (const data::RaggedBatch& batch : batches) {
      engine::Arena arena;
      Tape tape(arena, m.state().parameters, {.training = true, .seed = 1, .step = 2});
      const engine::Tensor t = m.state().network.forward(tape, batch).logits->data;
      for (int64_t r = 0; r < t.rows; ++r) out.insert(out.end(), t.row(r), t.row(r) + t.cols);
    }
    return out;
  };
  const std::vector<float> whole = logits({{5, 9, 2, 2, 7}});
  EXPECT_EQ(whole, logits({{5, 9}, {2, 2}, {7}}));
  EXPECT_EQ(whole, logits({{5}, {9, 2, 2, 7}}));
  EXPECT_NE(whole, logits({{9, 5}, {2, 2, 7}}));  // keys are places in the step
}

TEST_P(Sequences, AccumulationEqualsTheBigBatch) {
  std::vector<std::vector<double>> losses;
  std::vector<std::vector<float>> weights;
  for (const auto& [size, accumulation] : {std::pair<int, int>{12, 1}, {4, 3}, {1, 12}}) {
    TrainingArguments a = arguments();
    a.max_steps = 10;
    a.per_device_train_batch_size = size;
    a.gradient_accumulation_steps = accumulation;
    a.logging_strategy = "steps";
    a.logging_steps = 1;
    a.adam_epsilon = 1e-3;  // a step is smooth in the gradient: rounding stays rounding
    const Model m = model(0.1);
    losses.emplace_back();
    Trainer(m, a, data()).train({.on_log = [&](const LogEntry& e) {
      if (e.front().first == "loss") losses.back().push_back(e.front().second);
    }});
    weights.push_back(all_values(m));
  }
  ASSERT_EQ(losses[0].size(), 10u);
  for (size_t i = 1; i < 3; ++i) {
    ASSERT_EQ(losses[i].size(), 10u);
    for (size_t s = 0; s < 10; ++s) EXPECT_NEAR(losses[i][s], losses[0][s], 1e-5) << s;
    EXPECT_LE(largest_difference(weights[i], weights[0]), 1e-5);
  }
}

// The choices of an example have randomness of their own.
TEST(Choices, OfOneTextDropDifferentElements) {
  const TinyRun run;
  Model m = run.model("multiple-choice", {}, 0.3);
  Example e;
  e.text = "up";
  e.choices = {"ba be bi red bo", "ba be bi red bo"};
  e.labels = {"0"};
  const tasks::ChoiceFeatures features(Dataset({e}), *run.tokenizer(), 20);
  data::RaggedBatch batch;
  features.append(batch, 0, 3, 0);
  engine::Arena arena;
  Tape tape(arena, m.state().parameters, {.training = true, .seed = 1});
  const engine::Tensor t = m.state().network.forward(tape, batch).logits->data;
  EXPECT_NE(t.row(0)[0], t.row(1)[0]);
}

// A batch is cut between examples: the hint counts what --per_device_train_batch_size counts.
TEST_P(Sequences, TheMemoryHintCountsExamples) {
  Model m = model(0);
  const tasks::PreparedTask task = prepared(m);
  const auto batch_of = [&](int64_t n) {
    data::RaggedBatch batch;
    for (int64_t i = 0; i < n; ++i) task.train->append(batch, i, i, 0);
    return batch;
  };
  const auto needs = [&](int64_t n) { return plan_pass(m.state(), task.task.get(), batch_of(n), true); };
  const auto refused = [&](uint64_t limit) {
    const MemoryBudget budget(std::vector<MemoryLimit>{{"a test's limit", limit, 0}});
    return error_of([&] { budget.check(m.state(), task.task.get(), batch_of(40), true, needs(40), {}); });
  };
  const uint64_t five = needs(5).total();
  ASSERT_LT(five, needs(6).total());
  const data::RaggedBatch forty = batch_of(40);
  const std::string counted = is_choice() ? fmt::format("a batch of 40 examples ({} sequences)", forty.size())
                                          : "a batch of 40 sequences";
  EXPECT_THAT(refused(five),
              AllOf(HasSubstr(counted),
                    HasSubstr("--per_device_train_batch_size 5; with --gradient_accumulation_steps 8 ")));
  // Not even one: its sequences are cut, labels and spans with them.
  EXPECT_THAT(refused(needs(1).total() - 1),
              HasSubstr("--per_device_train_batch_size 1 and --max_seq_length "));
}

}  // namespace
}  // namespace graft::train
