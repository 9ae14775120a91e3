// graft predict as part of a pipe.
#include <csignal>

#include "base/file.h"
#include "cli/graft_program.h"

namespace graft::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

TEST(Predict, AnswersBeforeStandardInputCloses) {
  World world;
  RunningGraft graft({"predict", "--model", world.model()});
  graft.write_input("a good film\n");
  EXPECT_EQ(parse_json(graft.read_line(), "a line")["label"], "pos");
  graft.write_input("a bad film\nthe soup was");
  EXPECT_EQ(parse_json(graft.read_line(), "a line")["label"], "neg");
  graft.write_input(" good");  // no line end
  graft.close_input();
  EXPECT_EQ(parse_json(graft.read_line(), "a line")["label"], "pos");
  EXPECT_EQ(graft.read_line(), "");
  EXPECT_EQ(graft.wait(), 0);
}

TEST(Predict, StandardInputAndAFileGiveTheSame) {
  World world;
  const std::string model = world.model(), file = world.lines("texts.txt", 100, 4);
  const std::string answers = graft_output({"predict", "--model", model, "--input", file});
  EXPECT_EQ(graft_output({"predict", "--model", model}, read_file(file)), answers);
  EXPECT_EQ(graft_output({"predict", "--model", model, "--input", "-", "--output", "-"}, read_file(file)),
            answers);
  EXPECT_EQ(graft_output({"predict", "--model", model, "--input", file, "--output", world / "answers.jsonl"}),
            "");
  EXPECT_EQ(read_file(world / "answers.jsonl"), answers);
  EXPECT_EQ(json_lines(answers).size(), 100u);
}

TEST(Predict, ScoresAreProbabilities) {
  World world;
  const Json one =
      json_lines(graft_output({"predict", "--model", world.model(), "--return_all_scores"}, "a good film\n"))
          .front();
  EXPECT_NEAR(one["scores"]["pos"].get<double>() + one["scores"]["neg"].get<double>(), 1, 1e-9);
  EXPECT_EQ(one["score"], one["scores"][one["label"].get<std::string>()]);
}

TEST(Predict, AReaderThatLeavesEndsItQuietly) {
  World world;
  RunningGraft graft({"predict", "--model", world.model()});
  graft.write_input("a good film\n");
  graft.read_line();
  graft.close_output();
  graft.write_input("a bad film\na bad film\n");
  EXPECT_THAT(graft.read_error_line(), HasSubstr("graft 0."));  // what was loaded, and no complaint
  EXPECT_EQ(graft.read_error_line(), "");
  EXPECT_EQ(graft.wait(), 128 + SIGPIPE);  // as `graft ... | head -1` shows in a shell
}

TEST(Predict, TruncationIsSaid) {
  World world;
  std::string text;
  for (int i = 0; i < 60; ++i) text += "film ";
  RunOptions options;
  options.input = "a good film\n" + text + "\n";
  const Result r = run_graft({"predict", "--model", world.model()}, options);
  EXPECT_EQ(r.code, 0);
  EXPECT_EQ(json_lines(r.out).size(), 2u);
  EXPECT_THAT(r.err, HasSubstr("1 texts were truncated"));
}

TEST(Predict, WithoutStandardErrorItStillAnswers) {
  World world;
  RunOptions options;
  options.close_stderr = true;
  const Result r = run_graft(
      {"evaluate", "--model", world.model(), "--test_file", world.rows("test.csv", 8, 2), "--json"}, options);
  EXPECT_EQ(r.code, 0);
  EXPECT_EQ(json_lines(r.out).size(), 1u);
}

TEST(Predict, InvalidUtf8IsRefusedWithItsLine) {
  World world;
  RunOptions options;
  options.input = "good\nbad \xff film\n";
  const Result r = run_graft({"predict", "--model", world.model()}, options);
  EXPECT_EQ(r.code, 1);
  EXPECT_THAT(r.err, AllOf(HasSubstr("standard input: line 2"), HasSubstr("UTF-8"), HasSubstr("0xFF")));
}

TEST(Predict, AnOutputThatCannotBeWritten) {
  World world;
  const Result r = run_graft({"predict", "--model", world.model(), "--output", "/proc/none/x.jsonl"});
  EXPECT_EQ(r.code, 1);
  EXPECT_THAT(r.err, HasSubstr("/proc/none/x.jsonl: cannot create"));
}

}  // namespace
}  // namespace graft::test
