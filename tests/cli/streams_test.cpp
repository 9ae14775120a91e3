// Standard streams that are full, closed or left by their reader, in every verb; and memory that does not
// grow with the input.
#include <sys/stat.h>

#include <csignal>
#include <fstream>

#include "base/file.h"
#include "cli/graft_program.h"

namespace graft::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
namespace fs = std::filesystem;

// A command line of every verb that prints results.
std::vector<std::vector<std::string>> printing_commands(World& world) {
  const std::string model = world.model(), rows = world.rows("rows.csv", 16, 5),
                    texts = world.lines("t.txt", 9, 4);
  return {
      world.train_args("new", {"--train_file", rows, "--max_steps", "1", "--overwrite_output_dir"}),
      {"evaluate", "--model", model, "--test_file", rows},
      {"evaluate", "--model", model, "--test_file", rows, "--json", "--profile"},
      {"predict", "--model", model, "--input", texts},
      {"tokenize", "--model", model, "--input", texts},
      {"tokenize", "--model", model, "--input", texts, "--stats"},
      {"info", "--model", model},
      {"train-tokenizer", "--train_file", texts, "--vocab_size", "60", "--output_dir", world / "tokenizer"},
      {"train", "--help"},
      {"--help"},
      {"--version"}};
}

TEST(Streams, AFullDiskIsAFailure) {
  World world;
  for (const std::vector<std::string>& args : printing_commands(world)) {
    RunOptions options;
    options.stdout_file = "/dev/full";
    const Result r = run_graft(args, options);
    EXPECT_EQ(r.code, 1) << args[0] << ": " << r.err;
    EXPECT_THAT(r.err, HasSubstr("error: standard output: cannot write: No space left on device")) << args[0];
  }
}

TEST(Streams, AClosedOutputIsAFailureAndNoFileTakesItsPlace) {
  World world;
  for (const std::vector<std::string>& args : printing_commands(world)) {
    RunOptions options;
    options.close_stdout = options.close_stdin = true;
    const Result r = run_graft(args, options);
    EXPECT_EQ(r.code, 1) << args[0] << ": " << r.err;
    EXPECT_THAT(r.err, AllOf(HasSubstr("error: "), HasSubstr("Bad file descriptor"))) << args[0];
  }
  // What was printed is in no file of the model.
  EXPECT_EQ(json_lines(graft_output({"predict", "--model", world / "new"}, "a good film\n")).size(), 1u);
}

TEST(Streams, AClosedInputIsNoEmptyInput) {
  World world;
  RunOptions options;
  options.close_stdin = true;
  for (const char* verb : {"predict", "tokenize"}) {
    const Result r = run_graft({verb, "--model", world.model()}, options);
    EXPECT_EQ(r.code, 1) << verb;
    EXPECT_THAT(r.err, HasSubstr("standard input")) << verb;
  }
}

TEST(Streams, AFullDiskUnderAnOutputFile) {
  World world;
  RunOptions options;
  options.file_size_limit = 2000;
  const Result r = run_graft({"predict", "--model", world.model(), "--input", world.lines("t.txt", 500, 4),
                              "--output", world / "answers.jsonl"},
                             options);
  EXPECT_EQ(r.code, 1);
  EXPECT_THAT(r.err, AllOf(HasSubstr("answers.jsonl: cannot write"), HasSubstr("File too large")));
}

TEST(Streams, TheInputIsNotOverwritten) {
  World world;
  const std::string texts = world.lines("t.txt", 9, 4), before = read_file(texts);
  for (const char* verb : {"predict", "tokenize"}) {
    const Result r = run_graft({verb, "--model", world.model(), "--input", texts, "--output", texts});
    EXPECT_EQ(r.code, 2) << verb;
    EXPECT_THAT(r.err, HasSubstr("--output " + texts)) << verb;
  }
  EXPECT_EQ(read_file(texts), before);
}

TEST(Streams, PredictNeedsNoMoreMemoryForALargerFile) {
  World world;
  const auto file = [&](const std::string& name, int rows) {
    const std::string row = std::string(20'000, 'a') + " good film\n";
    std::ofstream out(world / name);
    for (int i = 0; i < rows; ++i) out << row;
    return world / name;
  };
  const auto memory = [&](const std::string& input) {
    const Result r =
        run_graft({"predict", "--model", world.model(), "--input", input, "--output", "/dev/null"});
    EXPECT_EQ(r.code, 0) << r.err;
    return r.max_rss;
  };
  const int64_t small = memory(file("small.txt", 200)), large = memory(file("large.txt", 4000));
  EXPECT_LT(large - small, 16 << 20) << small << " " << large;  // the file has 80 MB
  std::ofstream(world / "large.csv") << "text\n" << read_file(world / "large.txt");
  EXPECT_LT(memory(world / "large.csv") - small, 24 << 20);
}

TEST(Streams, PredictAnswersBeforeTheEndOfAFile) {
  World world;
  const std::string fifo = world / "rows.txt";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  RunningGraft graft({"predict", "--model", world.model(), "--input", fifo});
  std::ofstream out(fifo);
  out << "a good film\n" << std::flush;
  EXPECT_EQ(parse_json(graft.read_line(), "a line")["label"], "pos");
  out << "a bad film\n" << std::flush;
  EXPECT_EQ(parse_json(graft.read_line(), "a line")["label"], "neg");
  out.close();
  EXPECT_EQ(graft.wait(), 0);
}

TEST(Streams, EmptyLinesHaveAnswersOfTheirOwn) {
  World world;
  const std::string file = world.write("texts.txt", "a good film\n\na bad film\n\n");
  const Result r = run_graft({"predict", "--model", world.model(), "--input", file});
  EXPECT_EQ(r.code, 0) << r.err;
  const std::vector<Json> answers = json_lines(r.out);
  ASSERT_EQ(answers.size(), 4u);
  EXPECT_EQ(answers[0]["label"], "pos");
  EXPECT_EQ(answers[2]["label"], "neg");
  EXPECT_EQ(answers[1], answers[3]);
  EXPECT_THAT(r.err, HasSubstr(file + ": 2 of 4 texts are empty (the first on line 2)"));
  EXPECT_EQ(answers[1], json_lines(graft_output({"predict", "--model", world.model()}, "\n")).front());
}

// A tokenizer without special tokens makes nothing of an empty text: file and line are named, what came
// before is answered, and nothing gets a neighbour's score.
TEST(Streams, ATextWithoutATokenIsNamed) {
  World world;
  const std::string model = world.model_copy("bare");
  fs::remove(model + "/tokenizer.json");
  world.write("bare/tokenizer.json", R"({"version": "1.0", "added_tokens": [], "normalizer": null,
    "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null, "decoder": null,
    "model": {"type": "WordLevel", "unk_token": "[UNK]",
              "vocab": {"[UNK]": 1, "good": 5, "bad": 6, "film": 10}}})");
  for (const char* input : {"\n", "good film\nbad\n\ngood\n", "good\n\n"}) {
    RunOptions options;
    options.input = input;
    const Result r = run_graft({"predict", "--model", model}, options);
    const std::string text = input;
    const auto before = std::count(
        text.begin(), text.begin() + static_cast<int64_t>(text == "\n" ? 0 : text.find("\n\n") + 1), '\n');
    EXPECT_EQ(r.code, 1) << r.err;
    EXPECT_THAT(r.err,
                HasSubstr("standard input: line " + std::to_string(before + 1) + ": the text has no token"));
    EXPECT_EQ(json_lines(r.out).size(), static_cast<size_t>(before));
  }
  const std::string file = world.write("texts.csv", "text\ngood\n\"\"\n");
  const Result r = run_graft({"predict", "--model", model, "--input", file});
  EXPECT_EQ(r.code, 1);
  EXPECT_THAT(r.err, HasSubstr("texts.csv: line 3: the text has no token"));
}

}  // namespace
}  // namespace graft::test
