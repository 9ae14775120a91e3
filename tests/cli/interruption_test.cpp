// Ctrl-C and SIGTERM during training: the step ends, the model is saved, the exit code says which it was.
#include <chrono>
#include <csignal>
#include <thread>

#include "cli/graft_program.h"

namespace graft::test {
namespace {

using testing::HasSubstr;

// Everything that the run still says on standard error.
std::string rest_of(RunningGraft& graft) {
  std::string out;
  for (std::string line; !(line = graft.read_error_line()).empty();) out += line + "\n";
  return out;
}

struct Interruption : testing::TestWithParam<int> {};

TEST_P(Interruption, SavesAndExits) {
  World world;
  RunningGraft graft(world.train_args("out", {"--train_file", world.rows("train.csv", 64, 1),
                                              "--num_train_epochs", "1000000", "--logging_steps", "20"}));
  while (graft.read_error_line().find("learning_rate") == std::string::npos) {
  }
  graft.send(GetParam());
  EXPECT_THAT(rest_of(graft), HasSubstr("interrupted at step "));
  EXPECT_EQ(graft.wait(), 128 + GetParam());
  const Json state = read_json(world / "out/trainer_state.json");
  EXPECT_GE(state["global_step"].get<int>(), 20);
  EXPECT_EQ(json_lines(graft_output({"predict", "--model", world / "out"}, "a good film\n")).size(), 1u);
  EXPECT_EQ(run_graft({"train", "--model", world / "out", "--train_file", world / "train.csv", "--output_dir",
                       world / "on", "--max_steps", "1"})
                .code,
            0);
}

INSTANTIATE_TEST_SUITE_P(Signals, Interruption, testing::Values(SIGINT, SIGTERM),
                         [](const auto& info) { return info.param == SIGINT ? "CtrlC" : "SigTerm"; });

// A step that takes long: the first signal is answered at once, and it leaves within a batch.
TEST(LongStep, IsHeardAtOnceAndDropped) {
  World world;
  RunningGraft graft(world.train_args(
      "out", {"--train_file", world.rows("train.csv", 40000, 1), "--per_device_train_batch_size", "1",
              "--gradient_accumulation_steps", "1000000", "--num_train_epochs", "1000"}));
  while (graft.read_error_line().find("memory of a step") == std::string::npos) {
  }
  graft.send(SIGINT);
  EXPECT_THAT(graft.read_error_line(), HasSubstr("Press Ctrl-C again to quit immediately."));
  EXPECT_THAT(rest_of(graft), HasSubstr("interrupted at step 0"));
  EXPECT_EQ(graft.wait(), 128 + SIGINT);
  EXPECT_EQ(read_json(world / "out/trainer_state.json")["global_step"], 0);
}

// Before the training a signal ends the program, and what happened is said: here while it tokenises.
TEST_P(Interruption, BeforeTheTrainingIsSaid) {
  World world;
  RunningGraft graft(world.train_args("out", {"--train_file", world.rows("train.csv", 40000, 1)}));
  while (graft.read_error_line().find("graft 0.") == std::string::npos) {
  }
  graft.send(GetParam());
  EXPECT_THAT(rest_of(graft),
              HasSubstr("Stopped before the training: no step was done and nothing is saved."));
  EXPECT_EQ(graft.wait(), 128 + GetParam());
}

// Whenever a run is killed, what lies in its folders is an old model or a new one, never a mixture: every
// folder that looks like a model answers. (A folder may lack config.json for an instant; then no program
// loads it.)
TEST(Killed, FoldersHoldOldOrNewModels) {
  namespace fs = std::filesystem;
  World world;
  const std::string out = world / "out";
  const std::vector<std::string> args = world.train_args(
      "out", {"--train_file", world.rows("train.csv", 64, 1), "--max_steps", "12", "--save_strategy", "steps",
              "--save_steps", "1", "--save_total_limit", "2", "--overwrite_output_dir"});
  const auto start = std::chrono::steady_clock::now();
  graft_output(args);  // the old model
  const auto whole = std::chrono::duration<double>(std::chrono::steady_clock::now() - start);
  const auto check = [&](const fs::path& folder, int round) {
    const Result r =
        run_graft({"predict", "--model", folder.string(), "--input", world.write("t.txt", "good\n")});
    EXPECT_TRUE(r.code == 0 || !fs::exists(folder / "config.json"))
        << "round " << round << ": " << folder << ": " << r.err;
  };
  for (int round = 0; round < 6; ++round) {
    RunningGraft graft(args);
    // From the first quarter on: earlier there is nothing to interrupt.
    std::this_thread::sleep_for(whole * (0.25 + 0.75 * (round * 5 % 6) / 6.0));
    graft.send(SIGKILL);
    graft.wait();
    check(out, round);
    for (const auto& entry : fs::directory_iterator(out)) {
      if (entry.path().filename().string().starts_with("checkpoint-")) check(entry.path(), round);
    }
  }
  graft_output(args);  // and the next run is not disturbed by what they left
  for (const std::string& file : files_in(out)) EXPECT_THAT(file, testing::Not(HasSubstr("tmp"))) << file;
}

TEST(BrokenLog, AReaderOfTheLogThatLeavesDoesNotEndARun) {
  World world;
  RunningGraft graft(
      world.train_args("out", {"--train_file", world.rows("train.csv", 64, 1), "--logging_steps", "1"}));
  graft.read_error_line();
  graft.close_error();
  EXPECT_EQ(graft.wait(), 0);
  EXPECT_TRUE(std::filesystem::exists(world / "out/model.safetensors"));
}

}  // namespace
}  // namespace graft::test
