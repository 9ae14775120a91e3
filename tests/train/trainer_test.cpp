// The Trainer as its user sees it: what it leaves on disk, what it logs, when it stops, what it refuses.
#include "graft/trainer.h"

#include <algorithm>
#include <cmath>

#include "base/file.h"
#include "base/log.h"
#include "engine/cpu/gemm.h"
#include "graft/pipeline.h"
#include "models/model_case.h"
#include "train/saved_arguments.h"
#include "train/tiny_run.h"

namespace graft::train {
namespace {
namespace fs = std::filesystem;
using namespace graft::test;
using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

const std::vector<std::string> kColours = {"blue", "green", "red"};

std::vector<std::string> checkpoints_of(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (entry.is_directory()) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

// 24 examples in batches of 8: three steps an epoch.
class TrainerTest : public testing::Test {
 protected:
  TrainerTest()
      : train_(Dataset::from_file(run_.single_csv("train.csv", 24, 1))),
        eval_(Dataset::from_file(run_.single_csv("eval.csv", 11, 2))) {}
  Model model(double dropout = 0) const { return run_.model("sequence-classification", kColours, dropout); }
  Trainer trainer(const TrainingArguments& a) const {
    return {model(), a, {train_, eval_, run_.tokenizer()}};
  }
  fs::path out() const { return run_ / "out"; }

  TinyRun run_;
  Dataset train_, eval_;
};

TEST_F(TrainerTest, WritesCheckpointsEverySoManySteps) {
  TrainingArguments a = run_.arguments();
  a.save_strategy = "steps";
  a.save_steps = 2;
  const TrainResult result = trainer(a).train();
  EXPECT_EQ(result.global_step, 9);
  EXPECT_FALSE(result.interrupted);
  EXPECT_THAT(checkpoints_of(out()),
              ElementsAre("checkpoint-2", "checkpoint-4", "checkpoint-6", "checkpoint-8", "checkpoint-9"));
  for (const char* file : {"config.json", "model.safetensors", "tokenizer.json", "trainer_state.json"}) {
    EXPECT_TRUE(fs::exists(out() / "checkpoint-4" / file)) << file;
  }
  EXPECT_EQ(read_json(out() / "checkpoint-4" / "trainer_state.json")["global_step"], 4);
  EXPECT_FALSE(same_bits(all_values(load_model(out() / "checkpoint-2")), all_values(load_model(out()))));
}

// As the reference: at the last step too, whatever save_steps is and wherever in an epoch it lies.
TEST_F(TrainerTest, TheLastStepIsACheckpoint) {
  TrainingArguments a = run_.arguments();
  a.weight_decay = 0.1;
  a.max_steps = 5;
  for (const char* strategy : {"steps", "epoch"}) {
    fs::remove_all(out());
    a.save_strategy = strategy;
    trainer(a).train();
    std::vector<std::string> expected = {"checkpoint-5"};
    if (a.save_strategy == "epoch") expected = {"checkpoint-3", "checkpoint-5"};
    EXPECT_EQ(checkpoints_of(out()), expected);
    EXPECT_EQ(read_json(out() / "checkpoint-5" / "trainer_state.json")["global_step"], 5);
    EXPECT_TRUE(same_bits(all_values(load_model(out() / "checkpoint-5")), all_values(load_model(out()))));
  }
}

// An output folder of an earlier, longer run: higher numbers, names that are not checkpoints, and what a save
// that was killed left.
TEST_F(TrainerTest, TheLimitCountsTheCheckpointsOfThisRun) {
  for (const char* stale : {"checkpoint-700", "checkpoint-80", "checkpoint-", "checkpoint-x",
                            "checkpoint-99999999999999999999", "checkpoint--3", "tmp-checkpoint-5"}) {
    fs::create_directories(out() / stale);
  }
  TrainingArguments a = run_.arguments();
  a.save_strategy = "steps";
  a.save_steps = 4;
  a.save_total_limit = 2;
  std::string log;
  const LogSink former = set_log_sink([&](LogLevel, const std::string& text) { log += text + "\n"; });
  trainer(a).train();
  set_log_sink(former);
  EXPECT_THAT(log, HasSubstr("2 checkpoints of an earlier run, the last is checkpoint-700; they are kept"));
  EXPECT_THAT(checkpoints_of(out()),
              ElementsAre("checkpoint-", "checkpoint--3", "checkpoint-700", "checkpoint-8", "checkpoint-80",
                          "checkpoint-9", "checkpoint-99999999999999999999", "checkpoint-x"));
}

TEST_F(TrainerTest, WritesCheckpointsEveryEpochAndKeepsTheNewest) {
  TrainingArguments a = run_.arguments();
  a.save_strategy = "epoch";
  a.num_train_epochs = 5;
  trainer(a).train();
  EXPECT_THAT(checkpoints_of(out()), AllOf(Contains("checkpoint-3"), Contains("checkpoint-6"),
                                           Contains("checkpoint-9"), Contains("checkpoint-12")));
  fs::remove_all(out());
  a.save_total_limit = 2;
  trainer(a).train();
  const std::vector<std::string> kept = checkpoints_of(out());
  EXPECT_THAT(kept, ElementsAre("checkpoint-12", "checkpoint-15"));
}

TEST_F(TrainerTest, LeavesNoCheckpointWhereNoneIsWanted) {
  trainer(run_.arguments()).train();
  EXPECT_THAT(checkpoints_of(out()), IsEmpty());
  for (const char* file : {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
                           "vocab.txt", "trainer_state.json", "training_args.json", "all_results.json"}) {
    EXPECT_TRUE(fs::exists(out() / file)) << file;
  }
  EXPECT_EQ(read_json(out() / "config.json")["problem_type"], "single_label_classification");
  EXPECT_EQ(read_json(out() / "training_args.json")["learning_rate"], 3e-3);
  EXPECT_EQ(read_json(out() / "all_results.json")["train_samples"], 24);
}

// A checkpoint holds the rows of the embedding that lazy updates had not reached: with decay every row moves.
TEST_F(TrainerTest, ACheckpointIsTheModelOfAShorterRun) {
  TrainingArguments a = run_.arguments();
  a.weight_decay = 0.1;
  a.lr_scheduler_type = "constant";
  a.save_strategy = "steps";
  a.save_steps = 4;
  trainer(a).train();
  const std::vector<float> checkpoint = all_values(load_model(out() / "checkpoint-4"));
  a.max_steps = 4;
  a.save_strategy = "no";
  a.output_dir = (run_ / "short").string();
  trainer(a).train();
  EXPECT_TRUE(same_bits(checkpoint, all_values(load_model(run_ / "short"))));
}

TEST_F(TrainerTest, SavingAndEvaluatingOnTheWayChangeNothing) {
  TrainingArguments a = run_.arguments();
  a.weight_decay = 0.1;
  trainer(a).train();
  const std::vector<float> plain = all_values(load_model(out()));
  a.save_strategy = "steps";
  a.save_steps = 2;
  a.eval_strategy = "steps";
  a.eval_steps = 1;
  a.eval_on_start = true;
  a.per_device_eval_batch_size = 5;
  trainer(a).train();
  EXPECT_TRUE(same_bits(plain, all_values(load_model(out()))));
}

TEST_F(TrainerTest, ReduceLrOnPlateauFollowsTheEvaluations) {
  TrainingArguments a = run_.arguments();
  a.max_steps = 4;
  a.learning_rate = 1e-3;
  a.lr_scheduler_type = "reduce_lr_on_plateau";
  // The first evaluation is the best so far; no later one is ten times better.
  a.lr_scheduler_kwargs = R"({"patience": 0, "threshold": 0.9, "factor": 0.5})";
  a.eval_strategy = "steps";
  a.eval_steps = 1;
  a.eval_on_start = true;  // it counts not, as in the reference
  std::vector<double> rates;
  trainer(a).train({.on_step = [&](const TrainProgress& p) { rates.push_back(p.learning_rate); }});
  EXPECT_THAT(rates, ElementsAre(1e-3, 1e-3, 0.5e-3, 0.25e-3));
}

TEST_F(TrainerTest, RequestStopFinishesTheStepSavesAndReturns) {
  TrainingArguments a = run_.arguments();
  a.num_train_epochs = 100;
  a.do_eval = true;
  Trainer t = trainer(a);
  const TrainResult result = t.train({.on_step = [&](const TrainProgress& p) {
    if (p.step == 4) t.request_stop();
  }});
  EXPECT_TRUE(result.interrupted);
  EXPECT_EQ(result.global_step, 4);
  EXPECT_EQ(read_json(out() / "trainer_state.json")["global_step"], 4);

  a.max_steps = 4;
  a.lr_scheduler_type = "constant";
  a.output_dir = (run_ / "short").string();
  EXPECT_FALSE(trainer(a).train().interrupted);
  a.max_steps = -1;
  a.output_dir = (run_ / "stopped").string();
  Trainer u = trainer(a);
  int steps = 0;
  u.train({.should_stop = [&] { return ++steps == 4; }});
  EXPECT_TRUE(same_bits(all_values(load_model(run_ / "short")), all_values(load_model(run_ / "stopped"))));
}

TEST_F(TrainerTest, LogsLossRateAndEvaluationInOrder) {
  TrainingArguments a = run_.arguments();
  a.logging_strategy = "steps";
  a.logging_steps = 2;
  a.logging_first_step = true;
  a.eval_strategy = "epoch";
  a.warmup_steps = 3;
  Trainer t = trainer(a);
  std::vector<double> at, rates, epochs_evaluated;
  std::vector<std::pair<double, int64_t>> weighted;
  Observer observer;
  observer.on_log = [&](const LogEntry& e) {
    if (e.front().first == "loss") {
      at.push_back(value_of(e, "epoch"));
      rates.push_back(value_of(e, "learning_rate"));
      weighted.emplace_back(value_of(e, "loss"), at.size() == 1 ? 1 : at.size() == 2 ? 1 : 2);
    } else {
      EXPECT_GE(value_of(e, "eval_loss"), 0);
      epochs_evaluated.push_back(value_of(e, "epoch"));
    }
  };
  const TrainResult result = t.train(observer);
  // Steps 1, 2, 4, 6, 8 of 9; the rate is the one that the step used: 3e-3 times 0/3, 1/3, 1, (9-5)/6,
  // (9-7)/6.
  ASSERT_EQ(at.size(), 5u);
  const std::vector<double> epochs = {1.0 / 3, 2.0 / 3, 4.0 / 3, 2.0, 8.0 / 3};
  const std::vector<double> expected = {0, 1e-3, 3e-3, 2e-3, 1e-3};
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_NEAR(at[i], epochs[i], 1e-9);
    EXPECT_NEAR(rates[i], expected[i], 1e-12);
  }
  EXPECT_THAT(epochs_evaluated, ElementsAre(1.0, 2.0, 3.0));
  EXPECT_GT(result.training_loss, 0);
  EXPECT_NEAR(value_of(result.metrics, "epoch"), 3.0, 1e-12);
  const Json state = read_json(out() / "trainer_state.json");
  EXPECT_EQ(state["log_history"].size(), 8u);
  EXPECT_EQ(state["max_steps"], 9);
}

TEST_F(TrainerTest, TheMeanLossIsThatOfTheSteps) {
  TrainingArguments a = run_.arguments();
  a.do_eval = false;
  a.logging_strategy = "steps";
  a.logging_steps = 1;
  Trainer t = trainer(a);
  std::vector<double> losses;
  int64_t reports = 0;
  Observer observer;
  observer.on_log = [&](const LogEntry& e) { losses.push_back(value_of(e, "loss")); };
  observer.on_step = [&](const TrainProgress& p) {
    EXPECT_EQ(p.step, ++reports);
    EXPECT_EQ(p.total_steps, 9);
    EXPECT_GT(p.tokens_per_second, 0);
  };
  const TrainResult r = t.train(observer);
  ASSERT_EQ(losses.size(), 9u);
  EXPECT_EQ(reports, 9);
  double all = 0, last = 0;
  for (size_t i = 0; i < 9; ++i) all += losses[i] / 9, last += i >= 6 ? losses[i] / 3 : 0;
  EXPECT_NEAR(r.training_loss, all, 1e-12);
  EXPECT_NEAR(r.last_epoch_loss, last, 1e-12);
}

TEST_F(TrainerTest, EvaluationDoesNotDependOnTheBatchSize) {
  TrainingArguments a = run_.arguments();
  std::vector<LogEntry> entries;
  for (const int64_t size : {1, 2, 3, 8, 64}) {
    a.per_device_eval_batch_size = size;
    entries.push_back(trainer(a).evaluate());
    for (const char* name : {"eval_loss", "eval_accuracy", "eval_f1_macro"}) {
      EXPECT_EQ(value_of(entries.back(), name), value_of(entries[0], name)) << name << " " << size;
    }
    EXPECT_EQ(value_of(entries.back(), "eval_samples"), 11);
  }
}

TEST_F(TrainerTest, EvaluationOfMaskedLmDoesNotDependOnTheBatchSize) {
  TrainingArguments a = run_.arguments();
  a.line_by_line = true;
  const fs::path train = run_.text("train.txt", 10, 1), eval = run_.text("eval.txt", 31, 2);
  std::vector<double> losses;
  for (const int64_t size : {1, 4, 64}) {
    a.per_device_eval_batch_size = size;
    Trainer t(run_.model("masked-lm", {}), a, TaskData::text({train}, {eval}, run_.tokenizer()));
    const LogEntry entry = t.evaluate();
    losses.push_back(value_of(entry, "eval_loss"));
    EXPECT_EQ(losses.back(), losses[0]) << size;
    EXPECT_NEAR(value_of(entry, "eval_perplexity"), std::exp(losses.back()), 1e-9);
  }
}

// Once, in the library: the command line and the C interface have no default of their own.
TEST_F(TrainerTest, EvaluatesAtTheEndWhereThereIsEvaluationData) {
  TrainingArguments a = run_.arguments();
  a.num_train_epochs = 1;
  ASSERT_FALSE(a.do_eval.has_value());
  EXPECT_GT(value_of(trainer(a).train().metrics, "eval_samples"), 0);
  a.do_eval = false;
  EXPECT_TRUE(trainer(a).train().metrics.empty());
  a.do_eval.reset();
  EXPECT_TRUE(Trainer(load_model(out()), a, {train_, {}, run_.tokenizer()}).train().metrics.empty());
  EXPECT_EQ(read_json(out() / "training_args.json")["do_eval"], false);
}

// What stands on the disk evaluates as what was in memory.
TEST_F(TrainerTest, TheSavedModelEvaluatesTheSame) {
  TrainingArguments a = run_.arguments();
  a.do_eval = true;
  a.weight_decay = 0.01;
  const TrainResult result = trainer(a).train();
  Trainer again(load_model(out()), a, {{}, eval_, Tokenizer::from_pretrained(out())});
  const LogEntry entry = again.evaluate();
  for (const char* name : {"eval_loss", "eval_accuracy", "eval_f1_macro"}) {
    EXPECT_EQ(value_of(entry, name), value_of(result.metrics, name)) << name;
  }
}

// Without a word about it the hardware decides; what was decided is saved, and what reads the folder obeys.
TEST_F(TrainerTest, PrecisionIsDecidedOnceAndSaved) {
  TrainingArguments a = run_.arguments();
  a.bf16.reset();
  engine::cpu_kernels();
  const bool fast = engine::cpu::bf16_is_faster();
  EXPECT_EQ(training_precision({}).bf16, fast);
  trainer(a).train();
  EXPECT_EQ(read_json(out() / "training_args.json")["bf16"], fast);
  EXPECT_EQ(inference_precision({}, saved_arguments(out())).bf16, fast);
  std::vector<std::vector<float>> weights;
  for (const bool asked : {true, false}) {
    EXPECT_EQ(training_precision(asked).bf16, asked);
    a.bf16 = asked;
    trainer(a).train();
    EXPECT_EQ(inference_precision({}, saved_arguments(out())).bf16, asked);
    weights.push_back(all_values(load_model(out())));
    // The pipeline gives the logits of this precision and of no other.
    const std::string text = train_[0].text;
    const Prediction p = Pipeline(out())(text);
    Model again = load_model(out());
    again.state().bf16 = asked;
    data::RaggedBatch batch;
    batch.append(run_.tokenizer()->encode(text), 0);
    const std::vector<float> logits = logits_of(again, batch);
    double sum = 0;
    for (const float x : logits) sum += std::exp(double{x} - *std::max_element(logits.begin(), logits.end()));
    EXPECT_EQ(p.score, 1 / sum);
    again.state().bf16 = !asked;
    EXPECT_FALSE(same_bits(logits, logits_of(again, batch)));
  }
  EXPECT_FALSE(same_bits(weights[0], weights[1]));
  fs::remove(out() / "training_args.json");
  EXPECT_FALSE(inference_precision({}, saved_arguments(out())).bf16);
}

TEST_F(TrainerTest, ANonFiniteLossStopsAndSavesNothing) {
  TrainingArguments a = run_.arguments();
  a.learning_rate = 1e30;
  a.max_grad_norm = 0;
  EXPECT_THAT(error_of([&] { trainer(a).train(); }), AllOf(HasSubstr("step "), HasSubstr("--learning_rate"),
                                                           HasSubstr("existing checkpoints are unchanged")));
  EXPECT_FALSE(fs::exists(out() / "model.safetensors"));
}

TEST_F(TrainerTest, RefusesWhatCannotWork) {
  TrainingArguments a = run_.arguments();
  EXPECT_THAT(error_of([&] { Trainer(model(), a, {train_, eval_, nullptr}); }), HasSubstr("tokenizer"));
  EXPECT_THAT(error_of([&] {
                Trainer(model(), a, {{}, eval_, run_.tokenizer()}).train();
              }),
              HasSubstr("nothing to train on"));
  EXPECT_THAT(error_of([&] {
                Trainer(model(), a, {train_, {}, run_.tokenizer()}).evaluate();
              }),
              HasSubstr("nothing to evaluate on"));
  a.max_seq_length = 41;
  EXPECT_THAT(error_of([&] { trainer(a); }), AllOf(HasSubstr("41"), HasSubstr("40 positions")));
  a = run_.arguments();
  a.dataloader_drop_last = true;
  a.per_device_train_batch_size = 25;
  EXPECT_THAT(error_of([&] { trainer(a).train(); }), HasSubstr("one batch of 25"));
  a = run_.arguments();
  a.lr_scheduler_type = "greedy";
  EXPECT_THAT(error_of([&] { trainer(a); }), HasSubstr("greedy"));
  a.lr_scheduler_type = "reduce_lr_on_plateau";
  EXPECT_THAT(error_of([&] { trainer(a); }), HasSubstr("--eval_strategy epoch or steps"));
}

// As in the reference, tokens beyond the embedding may be there as long as no text holds one.
TEST_F(TrainerTest, ATokenBeyondTheEmbeddingIsRefusedWhereItOccurs) {
  const auto tokenizer = [&] {
    auto t = Tokenizer::from_pretrained(run_ / "tokenizer");
    t->add_tokens({"<user>"});
    return t;
  };
  const TrainingArguments a = run_.arguments();
  const Dataset with_user = Dataset::from_file(
      run_.dir().write("user.csv", "text,label\nup red,red\nup blue,blue\ndown <user> green,green\n"));
  Trainer(model(), a, {train_, eval_, tokenizer()}).train();
  EXPECT_THAT(error_of([&] {
                Trainer(model(), a, {with_user, {}, tokenizer()});
              }),
              AllOf(HasSubstr("user.csv: line 4"), HasSubstr("'<user>'"), HasSubstr("50 rows")));
  EXPECT_THAT(error_of([&] { Trainer(model(), a, {train_, with_user, tokenizer()}); }), HasSubstr("line 4"));
  // Masked-lm draws its random replacements from the ids that have a row.
  const fs::path text = run_.text("text.txt", 80, 3), user = run_.dir().write("user.txt", "up <user> down\n");
  Trainer(run_.model("masked-lm", {}), a, TaskData::text({text}, {}, tokenizer())).train();
  EXPECT_THAT(
      error_of([&] { Trainer(run_.model("masked-lm", {}), a, TaskData::text({user}, {}, tokenizer())); }),
      AllOf(HasSubstr("'<user>'"), HasSubstr("50 rows")));
}

TEST_F(TrainerTest, TrainsTwice) {
  TrainingArguments a = run_.arguments();
  Trainer t = trainer(a);
  const auto at_two = [&](const TrainProgress& p) {
    if (p.step == 2) t.request_stop();
  };
  EXPECT_TRUE(t.train({.on_step = at_two}).interrupted);
  const double before = value_of(t.evaluate(), "eval_samples");  // the request is spent
  EXPECT_EQ(before, 11);
  const TrainResult second = t.train();
  EXPECT_FALSE(second.interrupted);
  EXPECT_EQ(second.global_step, 9);
  t.request_stop();  // before it starts: nothing is trained, and it says so
  const TrainResult third = t.train();
  EXPECT_TRUE(third.interrupted);
  EXPECT_EQ(third.global_step, 0);
  EXPECT_EQ(t.train().global_step, 9);
}

TEST_F(TrainerTest, AStoppedEvaluationIsNoResult) {
  Trainer t = trainer(run_.arguments());
  t.request_stop();
  EXPECT_THAT(error_of([&] { t.evaluate(); }), HasSubstr("stopped before its end"));
  EXPECT_EQ(value_of(t.evaluate(), "eval_samples"), 11);
}

TEST_F(TrainerTest, EvaluationWithoutDataIsRefusedAtConstruction) {
  TrainingArguments a = run_.arguments();
  a.eval_strategy = "epoch";
  EXPECT_THAT(error_of([&] {
                Trainer(model(), a, {train_, {}, run_.tokenizer()});
              }),
              HasSubstr("--eval_strategy epoch: there is no evaluation data"));
  a = run_.arguments();
  a.eval_on_start = true;
  EXPECT_THAT(error_of([&] {
                Trainer(model(), a, {train_, {}, run_.tokenizer()});
              }),
              HasSubstr("--eval_on_start true: there is no evaluation data"));
  a = run_.arguments();
  a.do_eval = true;
  const fs::path text = run_.text("one.txt", 1, 3);
  EXPECT_THAT(error_of([&] {
                Trainer(run_.model("masked-lm", {}), a, TaskData::text({text}, {}, run_.tokenizer()));
              }),
              AllOf(HasSubstr("--do_eval true"), HasSubstr("--validation_file")));
}

// A row that no example reads: the loss and the gradients are finite, what would be saved is not.
TEST_F(TrainerTest, WeightsThatAreNotFiniteAreNotSaved) {
  Model m = model();
  engine::ParameterStore& parameters = m.state().parameters;
  const engine::Parameter* p = parameters.find("bert.embeddings.position_embeddings.weight");
  ASSERT_NE(p, nullptr);
  parameters.value(*p)[p->size - 1] = NAN;
  TrainingArguments a = run_.arguments();
  a.max_steps = 2;
  EXPECT_THAT(error_of([&] {
                Trainer(m, a, {train_, {}, run_.tokenizer()}).train();
              }),
              AllOf(HasSubstr("position_embeddings.weight is not finite"), HasSubstr("nothing was saved")));
  EXPECT_FALSE(fs::exists(out() / "config.json"));
}

TEST_F(TrainerTest, AnOutputFolderThatCannotBeIsFoundBeforeTheFirstStep) {
  TrainingArguments a = run_.arguments();
  int steps = 0;
  for (const std::string& dir : {run_.dir().write("file", "x").string(), std::string("/proc/none/x")}) {
    a.output_dir = dir;
    Trainer t = trainer(a);
    EXPECT_THAT(error_of([&] { t.train({.on_step = [&](const TrainProgress&) { ++steps; }}); }),
                HasSubstr(dir));
  }
  EXPECT_EQ(steps, 0);
}

TEST_F(TrainerTest, TooShortASequenceNamesTheOption) {
  TrainingArguments a = run_.arguments();
  a.max_seq_length = 2;
  EXPECT_THAT(error_of([&] { trainer(a); }), AllOf(HasSubstr("--max_seq_length 2 leaves no token"),
                                                   HasSubstr("--max_seq_length 3 or more")));
}

// What a callback throws is its own; what the standard library throws is a graft::Error.
TEST_F(TrainerTest, ExceptionsThatLeaveAreErrors) {
  struct Mine : std::runtime_error {
    Mine() : std::runtime_error("mine") {}
  };
  Trainer t = trainer(run_.arguments());
  EXPECT_THROW(t.train({.on_step = [](const TrainProgress&) { throw Mine(); }}), Mine);
  EXPECT_THAT(error_of([&] { t.train({.on_step = [](const TrainProgress&) { throw std::bad_alloc(); }}); }),
              HasSubstr("out of memory"));
  const auto no_permission = []() -> bool { throw fs::filesystem_error("no", "/x", std::error_code()); };
  EXPECT_THAT(error_of([&] { t.train({.should_stop = no_permission}); }), HasSubstr("/x"));
}

// Each observer is called in its place, with the step that it belongs to.
TEST_F(TrainerTest, ObserversSeeStepsEvaluationsAndSaves) {
  TrainingArguments a = run_.arguments();
  a.eval_strategy = a.save_strategy = a.logging_strategy = "steps";
  a.logging_steps = 3;
  a.eval_steps = 3;
  a.save_steps = 4;
  a.max_steps = 6;
  std::vector<std::string> seen;
  Observer observer;
  observer.on_step = [&](const TrainProgress& p) { seen.push_back(fmt::format("step {}", p.step)); };
  observer.on_log = [&](const LogEntry& e) { seen.push_back("log " + e.front().first); };
  observer.on_evaluate = [&](const LogEntry& e, int64_t step) {
    EXPECT_GE(value_of(e, "eval_accuracy"), 0);
    seen.push_back(fmt::format("evaluate {}", step));
  };
  observer.on_save = [&](const fs::path& folder, int64_t step) {
    EXPECT_TRUE(fs::exists(folder / "config.json"));
    seen.push_back(fmt::format("save {} {}", folder.filename().string(), step));
  };
  trainer(a).train(observer);
  EXPECT_THAT(seen, ElementsAre("step 1", "step 2", "log loss", "step 3", "log eval_loss", "evaluate 3",
                                "step 4", "save checkpoint-4 4", "step 5", "log loss", "step 6",
                                "log eval_loss", "evaluate 6", "save checkpoint-6 6", "save out 6"));
}

TEST_F(TrainerTest, DropLastLeavesOutThePartialBatch) {
  TrainingArguments a = run_.arguments();
  a.per_device_train_batch_size = 10;
  EXPECT_EQ(trainer(a).train().global_step, 9);
  a.dataloader_drop_last = true;
  EXPECT_EQ(trainer(a).train().global_step, 6);
}

TEST_F(TrainerTest, ClippingActsWhereTheNormIsLarger) {
  TrainingArguments a = run_.arguments();
  const auto trained = [&](double limit) {
    a.max_grad_norm = limit;
    trainer(a).train();
    return all_values(load_model(out()));
  };
  const std::vector<float> unclipped = trained(0);
  EXPECT_TRUE(same_bits(unclipped, trained(1e9)));
  EXPECT_FALSE(same_bits(unclipped, trained(0.1)));
}

TEST_F(TrainerTest, LongTextsAreCutAtMaxSeqLength) {
  TrainingArguments a = run_.arguments();
  a.max_seq_length = 4;
  const double cut = value_of(trainer(a).evaluate(), "eval_loss");
  a.max_seq_length = 0;
  EXPECT_NE(cut, value_of(trainer(a).evaluate(), "eval_loss"));
}

TEST_F(TrainerTest, SeedOfTheDataIsItsOwn) {
  TrainingArguments a = run_.arguments();
  const auto trained = [&] {
    trainer(a).train();
    return all_values(load_model(out()));
  };
  const std::vector<float> seed42 = trained();
  a.data_seed = 42;
  EXPECT_TRUE(same_bits(seed42, trained()));
  a.data_seed = 1;
  EXPECT_FALSE(same_bits(seed42, trained()));
}

}  // namespace
}  // namespace graft::train
