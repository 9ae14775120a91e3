// What a run reports: event files and json lines, tokens, memory, and the choices of evaluation.
#include <algorithm>
#include <chrono>
#include <cmath>

#include <fmt/format.h>

#include "base/file.h"
#include "base/folder.h"
#include "base/log.h"
#include "models/state.h"
#include "train/arguments.h"
#include "train/evaluation_sets.h"
#include "train/parts.h"
#include "train/plan.h"
#include "train/reports.h"
#include "train/step_batches.h"
#include "train/tiny_run.h"

namespace graft::train {
namespace {
using namespace graft::test;
using testing::AllOf;
using testing::HasSubstr;

class ReportedRun {
 public:
  ReportedRun() {
    data_.train = Dataset::from_file(world_.single_csv("train.csv", 40, 1));
    data_.eval = Dataset::from_file(world_.single_csv("eval.csv", 20, 2));
    data_.tokenizer = world_.tokenizer();
  }
  TrainResult train(const std::function<void(TrainingArguments&)>& choose) {
    TrainingArguments a = world_.arguments();
    a.max_steps = 10;
    a.logging_strategy = "steps";
    a.logging_steps = 2;
    choose(a);
    log.clear();
    const Model model = world_.model("sequence-classification", {"blue", "green", "red"}, 0.1);
    Trainer trainer(model, a, data_);
    Observer observer;
    observer.on_log = [this](const LogEntry& entry) { log.push_back(entry); };
    const TrainResult result = trainer.train(observer);
    weights.clear();
    const engine::ParameterStore& store = model.state().parameters;
    for (const engine::Parameter& p : store.parameters())
      weights.insert(weights.end(), store.value(p), store.value(p) + p.size);
    return result;
  }
  std::filesystem::path out() const { return world_ / "out"; }
  int evaluations() const {
    return static_cast<int>(std::count_if(
        log.begin(), log.end(), [](const LogEntry& entry) { return entry.front().first == "eval_loss"; }));
  }

  std::vector<LogEntry> log;
  std::vector<float> weights;

 private:
  TinyRun world_;
  TaskData data_;
};

std::vector<std::string> names_of(const LogEntry& entry) {
  std::vector<std::string> names;
  for (const auto& [name, value] : entry) names.push_back(name);
  return names;
}

TEST(Reports, JsonLinesHoldTheLogOfTheRun) {
  ReportedRun run;
  run.train([](TrainingArguments& a) { a.report_to = "json"; });
  const Json history = read_json(run.out() / "trainer_state.json").at("log_history");
  std::string lines;
  for (const Json& line : history) lines += line.dump() + "\n";
  EXPECT_EQ(read_file(run.out() / "runs/log.jsonl"), lines);
  EXPECT_EQ(history.size(), 6u);  // five of training, one of evaluation
  EXPECT_EQ(list_folder(run.out() / "runs").size(), 1u);
}

TEST(Reports, EventFilesLieInTheFolderOfTheRun) {
  ReportedRun run;
  run.train([](TrainingArguments& a) {
    a.report_to = "tensorboard";
    a.run_name = "first";
  });
  const auto files = list_folder(run.out() / "runs/first");
  ASSERT_EQ(files.size(), 1u);
  const std::string events = read_file(files.front());
  for (const char* tag : {"brain.Event:2", "train/loss", "train/grad_norm", "train/learning_rate",
                          "eval/loss", "eval/accuracy", "args/text_summary", "\"seed\": 42"})
    EXPECT_THAT(events, HasSubstr(tag));
  EXPECT_FALSE(path_exists(run.out() / "runs/log.jsonl"));
  run.train([&](TrainingArguments& a) {
    a.report_to = "all";
    a.logging_dir = (run.out() / "elsewhere").string();
  });
  EXPECT_EQ(list_folder(run.out() / "elsewhere").size(), 1u);
  EXPECT_TRUE(path_exists(run.out() / "runs/log.jsonl"));
  run.train([](TrainingArguments& a) { a.report_to = "tensorboard"; });
  EXPECT_EQ(list_folder(run.out() / "runs").size(), 3u);  // first, log.jsonl and one named by the time
}

TEST(Reports, NamesThatGraftLacksAreRefused) {
  EXPECT_EQ(parse_reports("all"), (std::set<std::string>{"jsonl", "tensorboard"}));
  EXPECT_EQ(parse_reports("tensorboard,json"), (std::set<std::string>{"jsonl", "tensorboard"}));
  EXPECT_TRUE(parse_reports("none").empty());
  EXPECT_TRUE(parse_reports("").empty());
  EXPECT_THAT(error_of([] { parse_reports("none,jsonl"); }), HasSubstr("--report_to none,jsonl contradicts"));
  EXPECT_THAT(error_of([] { parse_reports("wandb"); }),
              AllOf(HasSubstr("--report_to wandb is refused"), HasSubstr("log.jsonl")));
  EXPECT_THAT(error_of([] { parse_reports("tensorbord"); }), HasSubstr("did you mean tensorboard?"));
}

TEST(Reports, AFileThatCannotBeWrittenEndsTheReportNotTheRun) {
  ReportedRun run;
  std::string log;
  const LogSink former = set_log_sink([&](LogLevel, const std::string& text) { log += text + "\n"; });
  run.train([](TrainingArguments& a) {
    a.report_to = "tensorboard";
    a.logging_dir = "/proc/self/nowhere";
    a.max_steps = 2;
    EXPECT_THAT(error_of([&] { Reports(a, 0); }), HasSubstr("/proc/self/nowhere"));
    a.report_to = "none";
  });
  set_log_sink(former);
  EXPECT_THAT(log,
              HasSubstr("--logging_dir /proc/self/nowhere has no effect: --report_to has no tensorboard"));
}

TEST(Reporting, TokensAreCounted) {
  ReportedRun run;
  const TrainResult plain = run.train([](TrainingArguments&) {});
  EXPECT_TRUE(plain.train_metrics.empty());
  const std::vector<float> weights = run.weights;
  for (const char* value : {"all", "non_padding", "true"}) {
    run.train([&](TrainingArguments& a) { a.include_num_input_tokens_seen = value; });
    double before = 0;
    for (const LogEntry& entry : run.log) {
      const double seen = value_of(entry, "num_input_tokens_seen");
      EXPECT_GE(seen, before);
      before = seen;
      if (entry.front().first == "loss") {
        EXPECT_GT(value_of(entry, "train_tokens_per_second"), 0);
      }
    }
    // Ten batches of 8 texts of 3 to 7 words with [CLS] and [SEP]; no batch holds padding.
    EXPECT_GT(before, 10 * 8 * 5);
    EXPECT_LT(before, 10 * 8 * 9);
    EXPECT_EQ(read_json(run.out() / "trainer_state.json").at("num_input_tokens_seen").get<double>(), before);
  }
  EXPECT_EQ(run.weights, weights);
  const TrainResult speed = run.train([](TrainingArguments& a) { a.include_tokens_per_second = true; });
  EXPECT_GT(value_of(speed.train_metrics, "train_tokens_per_second"), 0);
  EXPECT_TRUE(read_json(run.out() / "all_results.json").contains("train_tokens_per_second"));
}

TEST(Reporting, MemoryHasTheReferencesNames) {
  ReportedRun run;
  const TrainResult result = run.train([](TrainingArguments& a) { a.skip_memory_metrics = false; });
  EXPECT_EQ(names_of(result.train_metrics),
            (std::vector<std::string>{"train_mem_cpu_alloc_delta", "train_mem_cpu_peaked_delta"}));
  EXPECT_GE(value_of(result.metrics, "eval_mem_cpu_peaked_delta"), 0);
  EXPECT_TRUE(std::isfinite(value_of(result.metrics, "eval_mem_cpu_alloc_delta")));
  const Json all = read_json(run.out() / "all_results.json");
  EXPECT_TRUE(all.contains("train_mem_cpu_peaked_delta") && all.contains("eval_mem_cpu_alloc_delta"));
}

// Why --dataloader_num_workers has no effect: even of this tiny model, whose step is short, a batch is ready
// in less than a fiftieth of the step.
TEST(Reporting, ABatchIsPreparedInASmallPartOfItsStep) {
  const TinyRun world;
  TrainingArguments a = world.arguments();
  a.max_steps = 100;
  TaskData data;
  data.train = Dataset::from_file(world.single_csv("train.csv", 800, 1));
  data.tokenizer = world.tokenizer();
  Trainer trainer(world.model("sequence-classification", {"blue", "green", "red"}, 0.1), a, data);
  const double train_seconds = trainer.train().seconds;
  data::Sampler sampler = make_sampler(*trainer.parts().features.train, a);
  StepBatches batches;
  const auto start = std::chrono::steady_clock::now();
  for (int64_t step = 0; step < a.max_steps; ++step)
    batches.fill(*trainer.parts().features.train, micro_batches(sampler, 0, step, 1), 0);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  EXPECT_LT(seconds, train_seconds / 50);
}

TEST(Evaluation, IsPutOff) {
  ReportedRun run;
  const auto evaluations = [&](const std::string& strategy, double delay) {
    run.train([&](TrainingArguments& a) {  // five steps an epoch
      a.eval_strategy = strategy;
      a.eval_steps = 2;
      a.eval_delay = delay;
    });
    return run.evaluations();
  };
  EXPECT_EQ(evaluations("steps", 0), 5);
  EXPECT_EQ(evaluations("steps", 6), 3);
  EXPECT_EQ(evaluations("steps", 6.5), 2);
  EXPECT_EQ(evaluations("epoch", 0), 2);
  EXPECT_EQ(evaluations("epoch", 2), 1);
}

TEST(Evaluation, GivesTheLossAlone) {
  ReportedRun run;
  const TrainResult all = run.train([](TrainingArguments&) {});
  const TrainResult loss = run.train([](TrainingArguments& a) { a.prediction_loss_only = true; });
  EXPECT_EQ(value_of(loss.metrics, "eval_loss"), value_of(all.metrics, "eval_loss"));
  EXPECT_EQ(names_of(loss.metrics), (std::vector<std::string>{"eval_loss", "eval_samples", "eval_runtime",
                                                              "eval_samples_per_second", "epoch"}));
}

TEST(Evaluation, InBf16LeavesTheTrainingAsItIs) {
  ReportedRun run;
  const auto eval_every_step = [](TrainingArguments& a) {
    a.eval_strategy = "steps";
    a.eval_steps = 1;
  };
  const double fp32 = value_of(run.train(eval_every_step).metrics, "eval_loss");
  const std::vector<float> weights = run.weights;
  const double bf16 = value_of(run.train([&](TrainingArguments& a) {
                                    eval_every_step(a);
                                    a.bf16_full_eval = true;
                                  })
                                   .metrics,
                               "eval_loss");
  EXPECT_EQ(run.weights, weights);
  EXPECT_NE(bf16, fp32);
  EXPECT_NEAR(bf16, fp32, 0.02 * fp32);
}

// Complaint 16: several sets, each with the metrics that it has alone.
TEST(Evaluation, OfSeveralSetsHasAPrefixForEach) {
  const TinyRun world;
  TaskData data;
  data.train = Dataset::from_file(world.single_csv("train.csv", 40, 1));
  data.tokenizer = world.tokenizer();
  const auto train = [&](const TaskData& with_sets) {
    TrainingArguments a = world.arguments();
    a.max_steps = 4;
    a.eval_strategy = "steps";
    a.eval_steps = 2;
    Trainer trainer(world.model("sequence-classification", {"blue", "green", "red"}), a, with_sets);
    const TrainResult result = trainer.train();
    EXPECT_EQ(trainer.evaluate().size() + 1, result.metrics.size());  // without the epoch
    return result.metrics;
  };
  TaskData both = data;
  for (const auto& [name, n] : {std::pair{"short", 12}, {"long_1", 30}})
    both.eval_sets.push_back({name, Dataset::from_file(world.single_csv(std::string(name) + ".csv", n, 2))});
  const LogEntry metrics = train(both);
  for (const EvaluationSet& set : both.eval_sets) {
    TaskData one = data;
    one.eval = set.data;
    const LogEntry alone = train(one);
    for (const char* metric : {"loss", "accuracy", "samples"})
      EXPECT_EQ(value_of(metrics, fmt::format("eval_{}_{}", set.name, metric)),
                value_of(alone, fmt::format("eval_{}", metric)));
  }
  both.eval_sets.front().name = "two words";
  EXPECT_THAT(error_of([&] { train(both); }), HasSubstr("not \"two words\""));
}

TEST(Evaluation, NamesOfSetsAreReadFromTheirFiles) {
  const TempDir dir;
  const std::string odd = dir.write("a=b.csv", "").string();
  using Pairs = std::vector<std::pair<std::string, std::string>>;
  EXPECT_EQ(named_files({"en=a.csv,de=b.csv", "fr=c.csv"}),
            (Pairs{{"en", "a.csv"}, {"de", "b.csv"}, {"fr", "c.csv"}}));
  EXPECT_EQ(named_files({"a.csv", odd, dir.write("x,y.csv", "").string()}), Pairs());
  EXPECT_THAT(error_of([] { named_files({"x,y.csv"}); }),
              HasSubstr("--validation_file x,y.csv: there is no such file"));
  EXPECT_THAT(error_of([] {
                named_files({"en=a.csv", "en=b.csv"});
              }),
              HasSubstr("the name en is given twice"));
  EXPECT_THAT(error_of([] { named_files({"en=a.csv", "b.csv"}); }), HasSubstr("some have none"));
}

}  // namespace
}  // namespace graft::train
