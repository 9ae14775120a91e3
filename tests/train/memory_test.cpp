// The memory of a run is known before its first step: the plan against what the process then has, and runs
// that do not fit into a limit.
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <fstream>
#include <sstream>

#include "base/error.h"
#include "base/memory.h"
#include "base/threads.h"
#include "graft/hub.h"
#include "graft/log.h"
#include "graft/pipeline.h"
#include "graft/train_tokenizer.h"
#include "models/model_case.h"
#include "support/sanitized.h"
#include "train/elementwise_optimizer.h"
#include "train/every_task.h"
#include "train/parts.h"
#include "train/plan_memory.h"
#include "train/runner.h"
#include "train/tiny_run.h"

namespace graft::train {
namespace {
using namespace graft::test;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

// f in a process of its own; its text.
std::string in_child(const std::function<std::string()>& f) {
  int ends[2];
  if (::pipe(ends) != 0) return "no pipe";
  const pid_t child = ::fork();
  if (child == 0) {
    std::string text;
    try {
      text = f();
    } catch (const Error& e) {
      text = std::string("error: ") + e.what() + "\n" + e.hint();
    } catch (const std::exception& e) {
      text = std::string("exception: ") + e.what();
    }
    [[maybe_unused]] const auto written = ::write(ends[1], text.data(), text.size());
    ::_exit(0);
  }
  ::close(ends[1]);
  std::string out;
  char buffer[4096];
  for (ssize_t n; (n = ::read(ends[0], buffer, sizeof buffer)) > 0;)
    out.append(buffer, static_cast<size_t>(n));
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? "killed by signal " + std::to_string(WTERMSIG(status)) : out;
}

// Bytes behind a key of /proc/self/status.
uint64_t status_of(const std::string& key) {
  std::ifstream in("/proc/self/status");
  for (std::string line; std::getline(in, line);) {
    if (line.rfind(key + ":", 0) == 0) return std::stoull(line.substr(key.size() + 1)) << 10;
  }
  return 0;
}

// Sets a limit `megabytes` above what is in use, or at least `total` megabytes.
bool limit_to(int resource, uint64_t megabytes, uint64_t total = 0) {
  const uint64_t used = status_of(resource == RLIMIT_AS ? "VmSize" : "VmData");
  const uint64_t bytes = std::max(used + (megabytes << 20), total << 20);
  const struct rlimit limit = {bytes, bytes};
  return ::setrlimit(resource, &limit) == 0;
}

Model wide_model(const TempDir& dir, const std::string& task) {
  const auto config =
      dir.write("config.json", R"({"model_type": "bert", "hidden_size": 384, "num_hidden_layers": 2,
      "num_attention_heads": 6, "intermediate_size": 1536, "vocab_size": 20000, "max_position_embeddings": 256,
      "type_vocab_size": 2, "num_labels": 3})");
  ModelOptions options;
  options.task = task;
  return Model::from_config(config, options);
}

data::RaggedBatch batch_of(const Model& model, int32_t sequences, int32_t length) {
  data::RaggedBatch batch;
  for (int32_t b = 0; b < sequences; ++b) {
    std::vector<int32_t> ids(static_cast<size_t>(length));
    for (int32_t i = 0; i < length; ++i) ids[static_cast<size_t>(i)] = (b * 977 + i * 131) % 20000;
    for (int32_t i = 0; model.task() == "masked-lm" && i < length; i += 28)
      batch.label_rows.push_back(batch.rows() + i), batch.labels.push_back(ids[static_cast<size_t>(i)]);
    batch.append(ids.data(), nullptr, length, b);
    if (model.task() != "masked-lm") batch.labels.push_back(b % 2);
  }
  return batch;
}

// Two steps, or predictions: "planned measured" in bytes, everything of the process.
std::string planned_and_measured(const std::string& task_name, bool bf16, bool train) {
  const TempDir dir;
  const Model model = wide_model(dir, task_name);
  models::State& state = model.state();
  state.bf16 = bf16;
  const std::unique_ptr<tasks::Task> task = make_task(model);
  const data::RaggedBatch batch = batch_of(model, 8, 128);
  StepMemory memory;
  const uint64_t before = resident_memory();
  if (!train) {
    memory.prepare(state, nullptr, batch, false);
    predict_batch(state, batch, memory);
  } else {
    state.parameters.allocate_grads();
    ElementwiseOptimizer optimizer(state.parameters, {});
    memory.expect_training(state, 8 * 128);
    memory.prepare(state, task.get(), batch, true);
    for (uint64_t step = 0; step < 2; ++step) {
      optimizer.catch_up(*state.network.encoder->word_embeddings(), batch.input_ids.data(), batch.rows());
      state.parameters.clear_grads();
      accumulate_gradients(state, *task, batch, task->loss_terms(batch), 42, step, true, memory);
      grad_norm(state.parameters);
      optimizer.step(1e-4, 1);
    }
  }
  return std::to_string(before + memory.needs().total()) + " " + std::to_string(peak_resident_memory());
}

// Tolerance: 12 % of the total, and above it the library's 24 MB, which a test that ran before may have made
// resident.
TEST(MemoryPlan, AgreesWithTheResidentMemory) {
  if (graft::test::kSanitized) return;
  for (const bool train : {true, false}) {
    for (const bool bf16 : {false, true}) {
      for (const char* task : {"sequence-classification", "masked-lm"}) {
        std::istringstream text(in_child([&] { return planned_and_measured(task, bf16, train); }));
        double planned = 0, measured = 0;
        ASSERT_TRUE(text >> planned >> measured) << text.str();
        const std::string what = fmt::format(
            "{} {} {}: planned {}, measured {}", task, bf16 ? "bf16" : "fp32", train ? "train" : "predict",
            format_bytes(static_cast<uint64_t>(planned)), format_bytes(static_cast<uint64_t>(measured)));
        EXPECT_GT(planned, 0.88 * measured) << what;
        EXPECT_LT(planned, 1.12 * measured + 24e6) << what;
      }
    }
  }
}

// A whole run: what the log predicts before the first step, and the peak of the process, both without what
// was resident before the model was made.
std::string predicted_and_measured(const TaskCase& c, bool bf16, bool checkpoints) {
  set_num_threads(2);
  const EveryTask tasks({.hidden_size = 384,
                         .layers = 4,
                         .heads = 6,
                         .intermediate_size = 1536,
                         .vocab_size = 20000,
                         .max_positions = 128,
                         .shortest = 90,
                         .longest = 110});
  TrainingArguments a = tasks.arguments(c);
  a.max_seq_length = 128;
  a.per_device_train_batch_size = a.per_device_eval_batch_size = a.mini_batch_size = 16;
  a.max_steps = 1;
  a.bf16 = bf16;
  a.gradient_checkpointing = checkpoints;
  const auto before = static_cast<double>(resident_memory());
  Trainer trainer(tasks.model(c), a, tasks.data(c, 16, 4));
  trainer.train();
  return fmt::format("{} {} ({})", static_cast<double>(trainer.parts().memory.predicted_peak()) - before,
                     static_cast<double>(peak_resident_memory()) - before,
                     trainer.parts().memory.needs().text());
}

void expect_predicted(const TaskCase& c, bool bf16, bool checkpoints = false) {
  std::istringstream text(in_child([&] { return predicted_and_measured(c, bf16, checkpoints); }));
  double predicted = 0, measured = 0;
  ASSERT_TRUE(text >> predicted >> measured) << text.str();
  EXPECT_GT(measured, 200e6) << c.name();
  EXPECT_NEAR(predicted / measured, 1, 0.1)
      << c.name() << (bf16 ? " bf16 " : " fp32 ") << checkpoints << ": " << text.str();
}

TEST(MemoryPlan, PredictsThePeakWithinTenPercent) {
  if (graft::test::kSanitized) return;
  const TaskCase c = every_task().front();
  for (const bool bf16 : {false, true}) expect_predicted(c, bf16);
  expect_predicted(c, false, true);
}

TEST(MemoryPlan, SlowPredictsThePeakOfEveryTaskWithinTenPercent) {
  if (graft::test::kSanitized) return;
  for (const TaskCase& c : every_task())
    for (const bool bf16 : {false, true}) expect_predicted(c, bf16);
}

// A group that may use `more` beyond what is in use.
MemoryBudget budget_of(uint64_t more) {
  return MemoryBudget(std::vector<MemoryLimit>{{"a test's limit", more + (100 << 20), 100 << 20}});
}

TEST(MemoryBudget, NamesTheLargestBatchThatFits) {
  const TempDir dir;
  const Model model = wide_model(dir, "sequence-classification");
  models::State& state = model.state();
  const auto task = make_task(model);
  const data::RaggedBatch batch = batch_of(model, 64, 128);
  const MemoryNeeds extra = plan_training(state);
  const auto needs_with = [&](int32_t sequences, int32_t length) {
    MemoryNeeds needs = plan_pass(state, task.get(), batch_of(model, sequences, length), true);
    needs.include(extra);
    return needs;
  };
  const auto refused = [&](uint64_t budget) {
    return error_of(
        [&] { budget_of(budget).check(state, task.get(), batch, true, needs_with(64, 128), extra); });
  };
  budget_of(needs_with(64, 128).total()).check(state, task.get(), batch, true, needs_with(64, 128), extra);
  const std::string text = refused(needs_with(20, 128).total());
  EXPECT_THAT(text, AllOf(HasSubstr("64 sequences with 8192 tokens"), HasSubstr("a test's limit"),
                          HasSubstr("AdamW's moments"), HasSubstr("--per_device_train_batch_size 20;"),
                          HasSubstr("--gradient_accumulation_steps 4")));
  EXPECT_THAT(refused(needs_with(20, 128).total() - 1), HasSubstr("--per_device_train_batch_size 19;"));
  // Not even one sequence: the length that does fit.
  EXPECT_THAT(refused(needs_with(1, 100).total()),
              HasSubstr("--per_device_train_batch_size 1 and --max_seq_length 100"));
  EXPECT_THAT(refused(1 << 20), HasSubstr("use a smaller model"));
  MemoryNeeds predict = plan_pass(state, nullptr, batch, false);
  EXPECT_THAT(error_of([&] {
                budget_of(plan_pass(state, nullptr, batch_of(model, 3, 128), false).total())
                    .check(state, nullptr, batch, false, predict, {});
              }),
              AllOf(HasSubstr("--per_device_eval_batch_size 3;"), Not(HasSubstr("moments"))));
}

TEST(MemoryBudget, LabelsOfEveryTaskFollowTheSmallerBatch) {
  const TempDir dir;
  const Model model = wide_model(dir, "masked-lm");
  const auto task = make_task(model);
  const data::RaggedBatch batch = batch_of(model, 8, 50);
  const MemoryNeeds all = plan_pass(model.state(), task.get(), batch, true);
  const uint64_t three = plan_pass(model.state(), task.get(), batch_of(model, 3, 50), true).total();
  EXPECT_THAT(error_of([&] { budget_of(three).check(model.state(), task.get(), batch, true, all, {}); }),
              HasSubstr("--per_device_train_batch_size 3;"));
}

// Under ulimit -v the arena leaves addresses to the library's code: no crash, and training goes through.
TEST(MemoryBudget, TrainsUnderALimitOnAddresses) {
  if (graft::test::kSanitized) return;
  TinyRun run;
  const auto train = run.single_csv("train.csv", 32, 1);
  const auto child = [&](uint64_t megabytes, uint64_t total, bool bf16) {
    return in_child([&]() -> std::string {
      set_num_threads(2);
      TrainingArguments arguments = run.arguments();
      arguments.max_steps = 2;
      arguments.bf16 = bf16;
      const Model model = run.model("sequence-classification", {"blue", "green", "red"});
      const Dataset data = Dataset::from_file(train);
      if (!limit_to(RLIMIT_AS, megabytes, total)) return "no limit";
      Trainer trainer(model, arguments, {data, {}, run.tokenizer()});
      return trainer.train().global_step == 2 ? "trained" : "not trained";
    });
  };
  EXPECT_EQ(child(400, 900, false), "trained");
  EXPECT_EQ(child(400, 900, true), "trained");
}

TEST(MemoryBudget, RefusesBeforeTheFirstStep) {
  if (graft::test::kSanitized) return;
  TinyRun run;
  const auto train = run.single_csv("train.csv", 512, 1);
  const std::string text = in_child([&]() -> std::string {
    TrainingArguments arguments = run.arguments();
    arguments.per_device_train_batch_size = 512;
    const TempDir dir;
    Trainer trainer(wide_model(dir, "sequence-classification"), arguments,
                    {Dataset::from_file(train), {}, run.tokenizer()});
    int steps = 0;
    if (!limit_to(RLIMIT_DATA, 300)) return "no limit";
    try {
      trainer.train({.on_step = [&](const TrainProgress&) { ++steps; }});
    } catch (const Error& e) {
      return fmt::format("{} steps: {}\n{}", steps, e.what(), e.hint());
    }
    return "trained";
  });
  EXPECT_THAT(text,
              AllOf(HasSubstr("0 steps: "), HasSubstr("ulimit -d"), HasSubstr("512 sequences"),
                    HasSubstr("--per_device_train_batch_size"), HasSubstr("--auto_find_batch_size true"),
                    HasSubstr("--gradient_checkpointing true")));
}

// The same batch in a process whose memory it does not fit into: cut into pieces before the first step, with
// the steps, the rates and the losses of the whole one.
TEST(AutoFindBatchSize, KeepsTheBatchTheScheduleAndTheResult) {
  if (graft::test::kSanitized) return;
  TinyRun run;
  const auto train = run.single_csv("train.csv", 350, 1);
  const TempDir dir;
  const auto trained = [&](uint64_t megabytes, bool drop_last) {
    return in_child([&]() -> std::string {
      TrainingArguments a = run.arguments();
      a.per_device_train_batch_size = 256;
      a.auto_find_batch_size = true;
      a.dataloader_drop_last = drop_last;
      a.num_train_epochs = 1;
      a.logging_strategy = "steps";
      a.logging_steps = 1;
      a.adam_epsilon = 1e-3;
      std::string said, losses;
      set_log_sink([&](LogLevel, const std::string& line) { said += line + "\n"; });
      Trainer trainer(wide_model(dir, "sequence-classification"), a,
                      {Dataset::from_file(train), {}, run.tokenizer()});
      if (megabytes > 0 && !limit_to(RLIMIT_DATA, megabytes)) return "no limit";
      trainer.train({.on_log = [&](const LogEntry& e) {
        if (e.front().first == "loss")
          losses += fmt::format("{} {} ", value_of(e, "loss"), value_of(e, "learning_rate"));
      }});
      return losses + (said.find(" pieces of at most ") != std::string::npos ? "pieces" : "whole");
    });
  };
  for (const bool drop_last : {false, true}) {
    std::istringstream whole(trained(0, drop_last)), pieces(trained(248, drop_last));
    for (int step = 0; step < (drop_last ? 1 : 2); ++step) {
      double loss = 0, rate = 0, cut_loss = 0, cut_rate = 0;
      ASSERT_TRUE(whole >> loss >> rate) << whole.str();
      ASSERT_TRUE(pieces >> cut_loss >> cut_rate) << pieces.str();
      EXPECT_NEAR(loss, cut_loss, 1e-5);
      EXPECT_EQ(rate, cut_rate);
    }
    std::string how;
    EXPECT_TRUE(whole >> how && how == "whole") << whole.str();
    EXPECT_TRUE(pieces >> how && how == "pieces") << pieces.str();
  }
}

// An evaluation whose batch does not fit is cut as well, and its metrics are those of the whole batches.
TEST(AutoFindBatchSize, CutsTheBatchesOfEvaluations) {
  if (graft::test::kSanitized) return;
  TinyRun run;
  const auto train = run.single_csv("train.csv", 16, 1), eval = run.single_csv("eval.csv", 400, 2);
  const TempDir dir;
  const auto evaluated = [&](uint64_t megabytes) {
    return in_child([&]() -> std::string {
      TrainingArguments a = run.arguments();
      a.per_device_eval_batch_size = 400;
      a.auto_find_batch_size = true;
      a.max_steps = 1;
      std::string said;
      set_log_sink([&](LogLevel, const std::string& line) { said += line + "\n"; });
      Trainer trainer(wide_model(dir, "sequence-classification"), a,
                      {Dataset::from_file(train), Dataset::from_file(eval), run.tokenizer()});
      if (megabytes > 0 && !limit_to(RLIMIT_DATA, megabytes)) return "no limit";
      const LogEntry metrics = trainer.train().metrics;
      const bool cut = said.find("an evaluation computes ") != std::string::npos;
      return fmt::format("{} {} {}", cut ? "pieces" : "whole", value_of(metrics, "eval_loss"),
                         value_of(metrics, "eval_accuracy"));
    });
  };
  const std::string whole = evaluated(0), cut = evaluated(232);
  EXPECT_THAT(whole, testing::StartsWith("whole ")) << whole;
  EXPECT_THAT(cut, testing::StartsWith("pieces ")) << cut;
  EXPECT_EQ(whole.substr(whole.find(' ')), cut.substr(cut.find(' ')));
}

TEST(AutoFindBatchSize, CutsEveryBatchEqually) {
  TinyRun run;
  const Dataset data = Dataset::from_file(run.single_csv("train.csv", 20, 1));
  Trainer trainer(run.model("sequence-classification", {"blue", "green", "red"}), run.arguments(),
                  {data, {}, run.tokenizer()});
  Trainer::Parts& p = trainer.parts();
  const std::vector<std::vector<int64_t>> batches = {{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, {10, 11, 12}};
  EXPECT_EQ(pieces(batches, p), batches);
  p.examples_in_a_pass = 4;
  EXPECT_EQ(pieces(batches, p),
            (std::vector<std::vector<int64_t>>{{0, 1, 2}, {3, 4, 5}, {6, 7, 8, 9}, {10, 11, 12}}));
}

// The standard library's exceptions do not leave the public functions: no memory for the rows of a file.
TEST(Boundary, NoMemoryIsAnError) {
  if (graft::test::kSanitized) return;
  const TempDir dir;
  std::string rows = "text,label\n";
  for (int i = 0; i < 200000; ++i) rows += "a text of some fifty characters that no buffer keeps,positive\n";
  const auto file = dir.write("rows.csv", rows);
  rows = {};
  EXPECT_THAT(in_child([&]() -> std::string {
                if (!limit_to(RLIMIT_DATA, 16)) return "no limit";
                Dataset::from_file(file);
                return "read";
              }),
              HasSubstr("error: out of memory"));
}

// Names that the file system refuses.
TEST(Boundary, NoPathIsAnError) {
  const std::filesystem::path file = std::string(5000, 'x');
  TinyRun run;
  const Model model = run.model("sequence-classification", {"a", "b"});
  for (const auto& path : {file, run / std::string(5000, 'x')}) {
    EXPECT_THAT(error_of([&] { Model::from_pretrained(path); }), HasSubstr("xxx"));
    EXPECT_THAT(error_of([&] { Model::from_config(path); }), HasSubstr("xxx"));
    EXPECT_THAT(error_of([&] { model.save_pretrained(path); }), HasSubstr("xxx"));
    EXPECT_THAT(error_of([&] { Dataset::from_file(path); }), HasSubstr("xxx"));
    EXPECT_THAT(error_of([&] { Tokenizer::from_pretrained(path); }), HasSubstr("xxx"));
    EXPECT_THAT(error_of([&] { run.tokenizer()->save(path); }), HasSubstr("xxx"));
    EXPECT_THAT(error_of([&] { train_tokenizer({path}, {}); }), HasSubstr("xxx"));
    EXPECT_THAT(error_of([&] { resolve_model(path.string()); }), HasSubstr("xxx"));
    EXPECT_THAT(error_of([&] { Pipeline{path}; }), HasSubstr("xxx"));
    EXPECT_THAT(error_of([&] { FillMaskPipeline{path}; }), HasSubstr("xxx"));
  }
}

}  // namespace
}  // namespace graft::train
