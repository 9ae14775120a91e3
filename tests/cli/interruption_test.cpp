// Ctrl-C and SIGTERM during training: the step ends, the model is saved, the exit code says which it was.
#include <csignal>

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
  EXPECT_THAT(graft.read_error_line(), HasSubstr("once more ends at once"));
  EXPECT_THAT(rest_of(graft), HasSubstr("interrupted at step 0"));
  EXPECT_EQ(graft.wait(), 128 + SIGINT);
  EXPECT_EQ(read_json(world / "out/trainer_state.json")["global_step"], 0);
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
