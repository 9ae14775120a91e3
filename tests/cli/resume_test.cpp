// Runs that die: killed at every write, sync and rename of a save, killed by the clock, out of disk. Whatever
// happened, the resumed run ends with the bits of the uninterrupted one.
#include <fmt/format.h>

#include <chrono>
#include <csignal>
#include <thread>

#include "base/file.h"
#include "base/philox.h"
#include "cli/graft_program.h"
#include "support/sanitized.h"

namespace graft::test {
namespace {
namespace fs = std::filesystem;

using testing::AllOf;
using testing::HasSubstr;

constexpr int kKilled = 128 + SIGKILL;

// A run whose checkpoints replace each other, and the bits that it ends with.
class DyingRun {
 public:
  explicit DyingRun(const std::string& task, std::vector<std::string> more = {}) : more_(std::move(more)) {
    const bool text = task == "masked-lm";
    more_.insert(more_.end(), {"--task",
                               task,
                               "--train_file",
                               text ? world_.lines("train.txt", 40, 1) : world_.rows("train.csv", 40, 1),
                               "--max_steps",
                               "6",
                               "--save_strategy",
                               "steps",
                               "--save_steps",
                               "2",
                               "--save_total_limit",
                               "1",
                               "--num_threads",
                               "1",
                               "--gradient_accumulation_steps",
                               "2",
                               "--per_device_train_batch_size",
                               "4",
                               "--logging_steps",
                               "1"});
    const Result whole = run("whole", {});
    EXPECT_EQ(whole.code, 0) << whole.err;
    weights_ = read_file(world_ / "whole/model.safetensors");
  }

  std::vector<std::string> args(const std::string& out) const {
    std::vector<std::string> args = world_.train_args(out, more_);
    args.insert(args.end(), {"--resume_from_checkpoint", "true"});
    return args;
  }
  // Fault `kind` at call `at` of those that change the output folder.
  Result run(const std::string& out, const std::string& kind, int64_t at = 0) const {
    RunOptions options;
    if (!kind.empty())
      options.environment = {{"LD_PRELOAD", GRAFT_FILE_FAULTS},
                             {"FAULT_FOLDER", world_ / out},
                             {"FAULT_KIND", kind},
                             {"FAULT_AT", std::to_string(at)},
                             {"FAULT_COUNT", world_ / "count.txt"}};
    return run_graft(args(out), options);
  }
  int64_t calls() const {
    EXPECT_EQ(run("counted", "count").code, 0);
    return std::stoll(read_file(world_ / "count.txt"));
  }
  // What a killed run left is continued to its end.
  void expect_same_end(const std::string& out, const std::string& what) const {
    const Result resumed = run(out, "");
    EXPECT_EQ(resumed.code, 0) << what << ": " << resumed.err;
    EXPECT_EQ(read_file(world_ / (out + "/model.safetensors")), weights_) << what;
    for (const std::string& file : files_in(world_ / out))
      EXPECT_THAT(file, testing::Not(HasSubstr("tmp"))) << what;
    fs::remove_all(world_ / out);
  }
  void die_at(int64_t at, const char* kind) const {
    const std::string what = fmt::format("{} call {}", kind, at);
    const Result killed = run("out", kind, at);
    EXPECT_EQ(killed.code, kKilled) << what << ": " << killed.err;
    expect_same_end("out", what);
  }
  // Killed so many times at seeded instants, each time after another share of its time, then resumed.
  void die_by_the_clock(int rounds) const {
    const auto start = std::chrono::steady_clock::now();
    run("timed", "");
    const std::chrono::duration<double> whole = std::chrono::steady_clock::now() - start;
    PhiloxStream draws(philox_key(1, 0, "kills"));
    for (int round = 0; round < rounds; ++round) {
      RunningGraft graft(args("out"));
      std::this_thread::sleep_for(whole * (static_cast<double>(draws.below(1000)) / 1000));
      graft.send(SIGKILL);
      graft.wait();
      if (round % 3 == 2 || round + 1 == rounds) expect_same_end("out", fmt::format("round {}", round));
    }
  }
  const World& world() const { return world_; }

 private:
  World world_;
  std::vector<std::string> more_;
  std::string weights_;
};

// A sanitizer must be loaded before any other library: there these tests are not run.
struct Dying : testing::TestWithParam<const char*> {};

TEST_P(Dying, AtSeededWritesIsResumedToTheSameBits) {
  if (kSanitized) return;
  const DyingRun run(GetParam());
  const int64_t calls = run.calls();
  EXPECT_GT(calls, 200);
  PhiloxStream draws(philox_key(2, 0, GetParam()));
  for (int i = 0; i < 5; ++i)
    run.die_at(1 + static_cast<int64_t>(draws.below(static_cast<uint64_t>(calls))),
               i % 2 ? "before" : "after");
}

TEST_P(Dying, AtEveryWriteIsResumedToTheSameBitsSlow) {
  if (kSanitized) return;
  const DyingRun run(GetParam());
  const int64_t calls = run.calls();
  for (int64_t at = 1; at <= calls; ++at) run.die_at(at, "before");
  run.die_at(calls, "after");
}

TEST_P(Dying, InTheBackgroundIsResumedToTheSameBits) {
  if (kSanitized) return;
  const DyingRun run(GetParam(), {"--background_save", "true"});
  const int64_t calls = run.calls();
  PhiloxStream draws(philox_key(3, 0, GetParam()));
  for (int i = 0; i < 3; ++i)
    run.die_at(1 + static_cast<int64_t>(draws.below(static_cast<uint64_t>(calls * 9 / 10))), "before");
}

TEST_P(Dying, OfAFullDiskLosesNothing) {
  if (kSanitized) return;
  const DyingRun run(GetParam());
  const int64_t calls = run.calls();
  for (const int64_t at : {calls / 5, calls / 2, calls * 4 / 5}) {
    const Result full = run.run("out", "full", at);
    EXPECT_EQ(full.code, 1) << at << ": " << full.err;
    EXPECT_THAT(full.err, HasSubstr("No space left on device")) << at;
    EXPECT_FALSE(full.err.find("the old file is unchanged") != std::string::npos &&
                 full.err.find("tmp-checkpoint") != std::string::npos)
        << full.err;
    for (const auto& entry : fs::directory_iterator(run.world() / "out"))
      EXPECT_THAT(entry.path().filename().string(), testing::Not(testing::StartsWith("tmp-"))) << at;
    run.expect_same_end("out", fmt::format("full at call {}", at));
  }
}

TEST_P(Dying, OfTooSmallADiskIsRefusedBeforeTheFirstStep) {
  if (kSanitized) return;
  const DyingRun run(GetParam());
  const Result small = run.run("out", "free", 20000);
  EXPECT_EQ(small.code, 1);
  EXPECT_THAT(small.err, AllOf(HasSubstr("the disk has 20.0 kB free, and the run needs "),
                               HasSubstr("the first checkpoint ("), HasSubstr("nothing was trained"),
                               testing::Not(HasSubstr("grad_norm"))));
  run.expect_same_end("out", "after a disk that is too small");
}

// A disk that is full for the event files alone: known before the first step, or the report ends with a
// warning.
TEST(DyingReports, DoNotEndATrainingThatRuns) {
  if (kSanitized) return;
  World world;
  const auto run = [&](const std::string& out, int64_t at) {
    RunOptions options;
    options.environment = {{"LD_PRELOAD", GRAFT_FILE_FAULTS},
                           {"FAULT_FOLDER", world / "logs"},
                           {"FAULT_KIND", "full"},
                           {"FAULT_AT", std::to_string(at)}};
    return run_graft(world.train_args(out, {"--train_file", world.rows("train.csv", 16, 1), "--max_steps",
                                            "8", "--logging_steps", "1", "--report_to", "tensorboard",
                                            "--logging_dir", world / "logs"}),
                     options);
  };
  const Result late = run("late", 8);
  EXPECT_EQ(late.code, 0) << late.err;
  EXPECT_THAT(late.err, AllOf(HasSubstr("No space left on device; training goes on, this report ends"),
                              HasSubstr("done; the model is in")));
  const Result early = run("early", 1);
  EXPECT_NE(early.code, 0);
  EXPECT_THAT(early.err, AllOf(HasSubstr("logs"), testing::Not(HasSubstr("grad_norm"))));
}

INSTANTIATE_TEST_SUITE_P(Tasks, Dying, testing::Values("sequence-classification", "masked-lm"),
                         [](const auto& info) {
                           return std::string(info.param) == "masked-lm" ? "MaskedLm" : "Classification";
                         });

TEST(DyingByTheClock, FiveTimesIsResumedToTheSameBits) {
  DyingRun("sequence-classification").die_by_the_clock(5);
}

TEST(DyingByTheClock, AHundredTimesIsResumedToTheSameBitsSlow) {
  DyingRun("sequence-classification").die_by_the_clock(50);
  DyingRun("masked-lm").die_by_the_clock(50);
}

// The command that an interrupted run prints continues it.
TEST(InterruptedRun, SaysTheCommandThatResumesIt) {
  World world;
  const std::vector<std::string> args = world.train_args(
      "out dir", {"--train_file", world.rows("train.csv", 64, 1), "--num_train_epochs", "1000000",
                  "--logging_steps", "20", "--save_strategy", "steps", "--save_steps", "1000000"});
  RunningGraft graft(args);
  while (graft.read_error_line().find("learning_rate") == std::string::npos) {
  }
  graft.send(SIGTERM);
  std::string said;
  for (std::string line; !(line = graft.read_error_line()).empty();) said += line + "\n";
  EXPECT_EQ(graft.wait(), 128 + SIGTERM);
  EXPECT_THAT(said, AllOf(HasSubstr("to resume: graft train --config_name "), HasSubstr("out dir' "),
                          HasSubstr(" --resume_from_checkpoint true\n")));
  std::vector<std::string> again = args;
  again.insert(again.end(), {"--resume_from_checkpoint", "true", "--max_steps", "1"});
  const Result resumed = run_graft(again);
  EXPECT_EQ(resumed.code, 0) << resumed.err;
  EXPECT_THAT(resumed.err, AllOf(HasSubstr("resumed from "), HasSubstr("the run is finished")));
}

TEST(OutputFolder, OfARunningProcessIsRefused) {
  World world;
  const std::vector<std::string> args =
      world.train_args("out", {"--train_file", world.rows("train.csv", 64, 1), "--num_train_epochs",
                               "1000000", "--logging_steps", "1", "--overwrite_output_dir"});
  RunningGraft graft(args);
  while (graft.read_error_line().find("learning_rate") == std::string::npos) {
  }
  const Result second = run_graft(args);
  EXPECT_EQ(second.code, 1);
  EXPECT_THAT(second.err, AllOf(HasSubstr("writes into this folder (LOCK)"), HasSubstr("--output_dir")));
  graft.send(SIGKILL);
  graft.wait();
  EXPECT_TRUE(fs::exists(world / "out/LOCK"));  // of a dead process: no obstacle
  std::vector<std::string> third = args;
  third.insert(third.end(), {"--max_steps", "1"});
  EXPECT_EQ(run_graft(third).code, 0);
  EXPECT_FALSE(fs::exists(world / "out/LOCK"));
}

TEST(OutputFolder, WithAModelAloneIsNotResumed) {
  World world;
  const std::vector<std::string> args = world.train_args(
      "out", {"--train_file", world.rows("train.csv", 16, 1), "--resume_from_checkpoint", "true"});
  EXPECT_EQ(run_graft(args).code, 0);
  const Result again = run_graft(args);
  EXPECT_EQ(again.code, 1);
  EXPECT_THAT(again.err, HasSubstr("holds a model and no checkpoint to resume from"));
}

TEST(VerifyResume, ProvesItOnTheUsersRun) {
  World world;
  std::vector<std::string> args =
      world.train_args("out", {"--train_file", world.rows("train.csv", 64, 1), "--verify_steps", "6"});
  args.front() = "verify-resume";
  const Result r = run_graft(args);
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_THAT(r.out, AllOf(HasSubstr("identical: 6 steps at once and 3 + 3 steps with a restart from disk"),
                           HasSubstr("tensors of weights and optimizer")));
  EXPECT_FALSE(fs::exists(world / "out"));
  EXPECT_THAT(graft_output({"verify-resume", "--help"}),
              AllOf(HasSubstr("--verify_steps steps of the run twice"), HasSubstr("Exit code 0")));
  args.insert(args.end(), {"--test_file", world / "train.csv"});
  EXPECT_THAT(run_graft(args).err, HasSubstr("--test_file has no effect here"));
  args.emplace_back("--json");
  EXPECT_EQ(parse_json(run_graft(args).out, "stdout")["identical"], true);
}

TEST(VerifyResume, HoldsToTheEndWithEvaluationsAndAverages) {
  World world;
  std::vector<std::string> args =
      world.train_args("out", {"--train_file", world.rows("train.csv", 64, 1), "--validation_file",
                               world.rows("dev.csv", 16, 2), "--eval_strategy", "steps", "--eval_steps", "2",
                               "--max_steps", "8", "--ema_decay", "0.9", "--optim", "adamw_8bit",
                               "--load_best_model_at_end", "--save_strategy", "steps", "--save_steps", "2"});
  args.front() = "verify-resume";
  const Result r = run_graft(args);
  EXPECT_EQ(r.code, 0) << r.out << r.err;
  EXPECT_THAT(r.out, HasSubstr("identical: 8 steps at once and 4 + 4 steps"));
}

}  // namespace
}  // namespace graft::test
