// A run that is resumed from disk has the bits of the uninterrupted one.
#include "train/resume.h"

#include <gtest/gtest.h>

#include <chrono>

#include "base/file.h"
#include "base/folder.h"
#include "base/threads.h"
#include "models/model_case.h"
#include "train/arguments.h"
#include "train/checkpoint.h"
#include "train/resume_run.h"
#include "train/run_record.h"
#include "train/verify_resume.h"

namespace graft::train {
namespace {
namespace fs = std::filesystem;

using namespace graft::test;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

using Change = std::function<void(TrainingArguments&)>;

class Resume : public testing::Test {
 protected:
  // Stops after `step` steps; the resumed run then has other arguments.
  TrainResult interrupted(int64_t step, const Change& first = {}, const Change& then = {}) {
    fs::remove_all(run_ / "out");
    stop(step, first);
    TrainingArguments a = run_.arguments("out");
    if (first) first(a);
    if (then) then(a);
    a.resume_from_checkpoint = "true";
    TrainResult result;
    log_ = log_of_run([&] { result = run_.trainer(a).train(); });
    return result;
  }
  void stop(int64_t step, const Change& change = {}) {
    TrainingArguments a = run_.arguments("out");
    if (change) change(a);
    EXPECT_TRUE(run_.trainer(a).train(stop_after(step)).interrupted);
    EXPECT_TRUE(fs::exists(run_ / "out" / checkpoint_name(step)));
  }
  std::string refused(const Change& change, int rows = 19, uint64_t seed = 1) {
    TrainingArguments a = run_.arguments("out");
    a.resume_from_checkpoint = "true";
    if (change) change(a);
    return error_of([&] { run_.trainer(a, rows, seed).train(); });
  }
  // The bits of weights, optimizer and log at the last step.
  std::string difference() const {
    ResumeReport report;
    compare_checkpoints(run_ / "whole/checkpoint-10", run_ / "out/checkpoint-10", report);
    return report.difference;
  }
  void train_whole(const Change& change = {}) {
    TrainingArguments a = run_.arguments("whole");
    if (change) change(a);
    run_.trainer(a).train();
  }
  ResumeRun run_;
  std::string log_;
};

// A new run in the folder of an earlier one is not resumed from that one's checkpoints, though they have more
// steps.
TEST_F(Resume, TakesNoCheckpointOfAnEarlierRunInTheFolder) {
  const Change rate = [](TrainingArguments& a) { a.learning_rate = 1e-3; };
  train_whole(rate);
  TrainingArguments a = run_.arguments("out");
  a.save_steps = 5;
  run_.trainer(a).train();
  EXPECT_TRUE(fs::exists(run_ / "out/checkpoint-10"));
  stop(4, rate);
  rate(a);
  a.save_steps = 1000;
  a.resume_from_checkpoint = "true";
  log_ = log_of_run([&] { run_.trainer(a).train(); });
  EXPECT_THAT(log_, AllOf(HasSubstr("resumed from"), HasSubstr("checkpoint-4"),
                          HasSubstr("checkpoint-10 is skipped: it is of an earlier run")));
  EXPECT_EQ(read_file(run_ / "out/model.safetensors"), read_file(run_ / "whole/model.safetensors"));
  // checkpoint-10 is this run's now, and a further call finds the run finished.
  log_ = log_of_run([&] { run_.trainer(a).train(); });
  EXPECT_THAT(log_, HasSubstr("the run is finished"));
}

TEST_F(Resume, HasTheBitsOfOneRunFromAnyStep) {
  train_whole();
  for (const int64_t step : {1, 3, 5, 9}) {
    const TrainResult result = interrupted(step);
    EXPECT_EQ(result.global_step, 10);
    EXPECT_EQ(difference(), "") << step;
    EXPECT_EQ(read_file(run_ / "out/model.safetensors"), read_file(run_ / "whole/model.safetensors"));
    EXPECT_THAT(log_, HasSubstr(fmt::format("checkpoint-{}: step {} of 10, epoch ", step, step)));
  }
}

TEST_F(Resume, HasTheBitsOfMaskedLm) {
  run_.masked_lm(run_.arguments("whole")).train();
  run_.masked_lm(run_.arguments("out")).train(stop_after(4));
  TrainingArguments a = run_.arguments("out");
  a.resume_from_checkpoint = "last";
  run_.masked_lm(a).train();
  EXPECT_EQ(difference(), "");
}

TEST_F(Resume, KeepsEvaluationsAndTheBestMetric) {
  const Change evaluates = [](TrainingArguments& a) {
    a.eval_strategy = "steps";
    a.eval_steps = 2;
    a.metric_for_best_model = "accuracy";
    a.early_stopping_patience = 100;
  };
  train_whole(evaluates);
  for (const int64_t step : {3, 4}) {  // at step 4 the interruption prevents an evaluation
    interrupted(step, evaluates);
    EXPECT_EQ(difference(), "") << step;
  }
  const Json state = read_json(run_ / "out/checkpoint-10/trainer_state.json");
  EXPECT_GE(state["best_global_step"].get<int64_t>(), 2);
}

TEST_F(Resume, HasTheBitsWithEveryOptimizerAndRegularisation) {
  const std::vector<std::vector<std::pair<std::string, std::string>>> runs = {
      {{"optim", "sgd"}, {"optim_args", "momentum=0.9"}},
      {{"optim", "lion"}},
      {{"optim", "rmsprop"}, {"optim_args", "momentum=0.5"}},
      {{"optim", "adagrad"}},
      {{"optim", "adafactor"}},
      {{"optim", "muon"}},
      {{"optim", "adamw_8bit"}},
      {{"mixout", "0.3"}},
      {{"ema_decay", "0.5"}},
      {{"swa_start", "1"}, {"swa_lr", "1e-3"}},
      {{"average_checkpoints", "2"}},
      {{"gradual_unfreezing", "1"}},
      {{"neftune_noise_alpha", "5"}, {"r_drop_alpha", "1"}},
      {{"lr_scheduler_type", "reduce_lr_on_plateau"},
       {"lr_scheduler_kwargs", R"({"patience": 0, "threshold": 0.5})"},
       {"eval_strategy", "steps"},
       {"eval_steps", "1"}}};
  for (const auto& run : runs) {
    const Change change = [&](TrainingArguments& a) {
      for (const auto& [name, value] : run) set_argument(a, name, value);
    };
    fs::remove_all(run_ / "whole");
    train_whole(change);
    for (const int64_t step : {4, 6}) {
      interrupted(step, change);
      EXPECT_EQ(difference(), "") << run[0].first << " " << run[0].second << " at " << step;
      EXPECT_EQ(read_file(run_ / "out/model.safetensors"), read_file(run_ / "whole/model.safetensors"));
    }
  }
}

TEST_F(Resume, ThreadsMayDiffer) {
  const int before = num_threads();
  set_num_threads(2);
  train_whole();
  set_num_threads(1);
  interrupted(5);
  set_num_threads(before);
  EXPECT_EQ(difference(), "");
}

TEST_F(Resume, RefusesOtherDataAndBatchesAndModels) {
  stop(4);
  EXPECT_THAT(refused({}, 19, 3),
              AllOf(HasSubstr("the training data, their tokens or their labels are others"),
                    HasSubstr("--ignore_data_skip true")));
  EXPECT_THAT(refused({}, 20), HasSubstr("the training data have 20 examples (was 19)"));
  EXPECT_THAT(refused([](TrainingArguments& a) { a.per_device_train_batch_size = 8; }),
              HasSubstr("--per_device_train_batch_size 8 (was 4)"));
  EXPECT_THAT(refused([](TrainingArguments& a) { a.data_seed = 3; }),
              HasSubstr("--data_seed 3 (it was not given)"));
  TrainingArguments a = run_.arguments("out");
  a.resume_from_checkpoint = "true";
  const Dataset data = Dataset::from_file(run_ / "train.csv");
  const auto other = [&] {
    Trainer(run_.run().model("sequence-classification", {"blue", "green", "red"}, 0.2, "bert"), a,
            {data, data, run_.run().tokenizer()})
        .train();
  };
  EXPECT_THAT(error_of(other), AllOf(HasSubstr("is a checkpoint of another model"),
                                     HasSubstr("\"hidden_dropout_prob\" is 0.1 there and 0.2 here")));
}

TEST_F(Resume, BatchesOfAnotherSizeWithTheSameExamplesAreTheSameRun) {
  train_whole();
  interrupted(4, {}, [](TrainingArguments& a) {
    a.per_device_train_batch_size = 2;
    a.gradient_accumulation_steps = 4;
  });
  EXPECT_THAT(log_, HasSubstr("the examples of a step are the same"));
  EXPECT_LE(largest_difference(all_values(load_model(run_ / "out")), all_values(load_model(run_ / "whole"))),
            1e-3);
}

TEST_F(Resume, OtherDataStartTheEpochAnewWhereThatIsAsked) {
  const TrainResult result = interrupted(
      4, [](TrainingArguments& a) { a.max_steps = -1; },
      [](TrainingArguments& a) {
        a.ignore_data_skip = true;
        a.per_device_train_batch_size = 8;
        a.gradient_accumulation_steps = 1;
        a.dataloader_drop_last = true;
      });
  EXPECT_THAT(log_, HasSubstr("resumed with other data or batches: --dataloader_drop_last true (was false)"));
  // Four steps of the first epochs, then epochs 2 and 3 of two steps each.
  EXPECT_EQ(result.global_step, 8);
}

TEST_F(Resume, OtherSettingsAreNamed) {
  interrupted(4, {}, [](TrainingArguments& a) {
    a.learning_rate = 1e-4;
    a.max_steps = 12;
  });
  EXPECT_THAT(log_, AllOf(HasSubstr("--learning_rate 0.0001 (was 0.003)"),
                          HasSubstr("the run has 12 steps now, not 10")));
}

TEST_F(Resume, NamesWhatWasNotGivenBefore) {
  const Change decay = [](TrainingArguments& a) { a.weight_decay_patterns = "*.bias=0.01"; };
  interrupted(4, {}, decay);
  EXPECT_THAT(log_, AllOf(HasSubstr("--weight_decay_patterns *.bias=0.01 (it was not given)"),
                          Not(HasSubstr("(was )"))));
  interrupted(4, decay, [](TrainingArguments& a) { a.weight_decay_patterns = ""; });
  EXPECT_THAT(log_, HasSubstr("no --weight_decay_patterns (it was *.bias=0.01)"));
}

TEST(SameModel, AnotherOneIsNamedByAFewKeys) {
  Json there = {{"model_type", "bert"}}, here = {{"model_type", "bert"}};
  for (const char* key : {"a", "b", "c", "d", "e"}) there[key] = 1, here[key] = 2;
  const std::string error = error_of([&] { check_same_model(here, there, "out/checkpoint-2"); });
  EXPECT_THAT(error, AllOf(HasSubstr("out/checkpoint-2: is a checkpoint of another model"),
                           HasSubstr("\"a\" is 1 there and 2 here"), HasSubstr(" and 2 more"),
                           Not(HasSubstr("\"e\""))));
  here["model_type"] = "roberta";
  EXPECT_THAT(
      error_of([&] { check_same_model(here, there, "x"); }),
      AllOf(HasSubstr("\"model_type\" is \"bert\" there and \"roberta\" here"), Not(HasSubstr("\"a\""))));
  here = there;
  here["id2label"] = std::string(5000, 'x');
  EXPECT_LT(error_of([&] { check_same_model(here, there, "x"); }).size(), 400u);
}

TEST_F(Resume, TakesTheNewestCheckpointOfARunsFolder) {
  train_whole();
  stop(4);
  TrainingArguments a = run_.arguments("elsewhere");
  a.resume_from_checkpoint = (run_ / "out").string() + "/";
  EXPECT_THAT(log_of_run([&] { run_.trainer(a).train(); }),
              HasSubstr("resumed from " + (run_ / "out/checkpoint-4").string()));
  EXPECT_EQ(read_file(run_ / "elsewhere/model.safetensors"), read_file(run_ / "whole/model.safetensors"));
  fs::remove_all(run_ / "out/checkpoint-4");
  EXPECT_THAT(error_of([&] { run_.trainer(a).train(); }),
              AllOf(HasSubstr("out: is a model and no checkpoint"), HasSubstr("--model")));
}

TEST_F(Resume, AFinishedRunEndsWithSuccess) {
  train_whole();
  TrainingArguments a = run_.arguments("whole");
  const std::string weights = read_file(run_ / "whole/model.safetensors");
  a.resume_from_checkpoint = "true";
  TrainResult result;
  EXPECT_THAT(log_of_run([&] { result = run_.trainer(a).train(); }), HasSubstr("the run is finished"));
  EXPECT_EQ(result.global_step, 10);
  EXPECT_EQ(read_file(run_ / "whole/model.safetensors"), weights);
}

TEST_F(Resume, TakesTheNewestThatIsWholeWhateverTheClockSays) {
  train_whole();
  stop(8, [](TrainingArguments& a) { a.save_steps = 3; });  // checkpoints 3, 6, 8
  write_file(run_ / "out/checkpoint-8/model.safetensors", "");
  // The clock went backwards: later checkpoints look older.
  const auto now = fs::file_time_type::clock::now();
  for (const int step : {3, 6, 8})
    for (const auto& entry : fs::recursive_directory_iterator(run_ / fmt::format("out/checkpoint-{}", step)))
      fs::last_write_time(entry, now - std::chrono::hours(step));
  TrainingArguments a = run_.arguments("out");
  a.resume_from_checkpoint = "true";
  const std::string log = log_of_run([&] { run_.trainer(a).train(); });
  EXPECT_THAT(log, AllOf(HasSubstr("checkpoint-8 is skipped: "), HasSubstr("model.safetensors: has 0 bytes"),
                         HasSubstr("checkpoint-6: step 6 of 10")));
  EXPECT_EQ(difference(), "");
  a.resume_from_checkpoint = (run_ / "out/checkpoint-3").string();
  write_file(run_ / "out/checkpoint-3/rng.json", "{}");
  EXPECT_THAT(error_of([&] { run_.trainer(a).train(); }), HasSubstr("checkpoint-3/rng.json: has 2 bytes"));
  for (const int step : {3, 6, 8, 10})
    write_file(run_ / fmt::format("out/checkpoint-{}/rng.json", step), "{}");
  EXPECT_THAT(refused({}), HasSubstr("none of its 4 checkpoints is complete and unchanged"));
}

TEST_F(Resume, WithoutACheckpointTheRunBegins) {
  train_whole();
  TrainingArguments a = run_.arguments("out");
  a.resume_from_checkpoint = "true";
  EXPECT_THAT(log_of_run([&] { run_.trainer(a).train(); }), HasSubstr("has no checkpoint"));
  EXPECT_EQ(difference(), "");
  a.resume_from_checkpoint = (run_ / "nowhere").string();
  EXPECT_THAT(error_of([&] { run_.trainer(a).train(); }), HasSubstr("there is no such folder"));
}

TEST_F(Resume, ARunOwnsItsEarlierCheckpoints) {
  const Change limit = [](TrainingArguments& a) {
    a.save_steps = 2;
    a.save_total_limit = 2;
  };
  fs::create_directories(run_ / "out/checkpoint-700");  // of another run
  stop(5, limit);
  TrainingArguments a = run_.arguments("out");
  limit(a);
  a.resume_from_checkpoint = (run_ / "out/checkpoint-5").string();
  run_.trainer(a).train();
  EXPECT_EQ(checkpoints_in(run_ / "out"), (std::vector<int64_t>{8, 10, 700}));
}

TEST_F(Resume, SavedArgumentsRepeatTheRun) {
  interrupted(4);
  EXPECT_EQ(read_json(run_ / "out/training_args.json")["resume_from_checkpoint"], "");
}

TEST_F(Resume, IsVerifiedOnTheUsersOwnRun) {
  const auto make = [&](const TrainingArguments& a) {
    return std::unique_ptr<Trainer>(new Trainer(run_.trainer(a)));
  };
  const ResumeReport report = verify_resume(make, run_.arguments("out"), 6);
  EXPECT_EQ(report.difference, "");
  EXPECT_EQ(report.steps, 6);
  EXPECT_EQ(report.interrupted_at, 3);
  EXPECT_GT(report.tensors, 60);
  EXPECT_EQ(report.log_lines, 1);
  for (const fs::path& path : list_folder(run_.run().dir().path()))
    EXPECT_THAT(path.string(), Not(HasSubstr("verify-resume")));
}

TEST_F(Resume, VerifyingNamesWhatItLeavesOut) {
  TrainingArguments a = run_.arguments("proof");
  a.eval_strategy = "epoch";
  a.early_stopping_patience = 2;
  a.load_best_model_at_end = true;
  const auto make = [&](const TrainingArguments& b) {
    return std::unique_ptr<Trainer>(new Trainer(run_.trainer(b)));
  };
  const std::string log = log_of_run([&] { EXPECT_EQ(verify_resume(make, a, 4, {}).difference, ""); });
  EXPECT_THAT(log, AllOf(HasSubstr("without effect here: "), HasSubstr("--early_stopping_patience 2"),
                         HasSubstr("--load_best_model_at_end true"), Not(HasSubstr("--eval_strategy"))));
}

TEST_F(Resume, TheFirstDifferenceIsNamed) {
  train_whole();
  run_.trainer(run_.arguments("out")).train();
  EXPECT_EQ(difference(), "");
  TrainingArguments a = run_.arguments("out");
  a.learning_rate = 2e-3;
  run_.trainer(a).train();
  EXPECT_THAT(difference(), AllOf(HasSubstr("model.safetensors: "), HasSubstr(" at once and ")));
}

}  // namespace
}  // namespace graft::train
