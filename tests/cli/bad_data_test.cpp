// What is wrong with a user's data or output folder is said: file, place, fix, exit code 1.
#include <zlib.h>

#include "base/file.h"
#include "cli/graft_program.h"

namespace graft::test {
namespace {

using testing::HasSubstr;
namespace fs = std::filesystem;

struct BadData : testing::Test {
  World world;
  void expect_error(const std::vector<std::string>& args, const std::vector<std::string>& parts) {
    const Result r = run_graft(args);
    EXPECT_EQ(r.code, 1) << r.err;
    EXPECT_EQ(r.out, "");
    EXPECT_THAT(r.err, HasSubstr("error: "));
    for (const std::string& part : parts) EXPECT_THAT(r.err, HasSubstr(part));
  }
  void expect_train_error(const std::vector<std::string>& more, const std::vector<std::string>& parts) {
    expect_error(world.train_args("out", more), parts);
    EXPECT_FALSE(fs::exists(world / "out/config.json"));
  }
};

TEST_F(BadData, MissingFilesAndColumns) {
  expect_train_error({"--train_file", world / "none.csv"},
                     {"none.csv: No such file", "hint: check the spelling"});
  expect_error({"predict", "--model", world.model(), "--input", world / "none.txt"},
               {"none.txt: No such file"});
  expect_error({"predict", "--model", world / "nothing"}, {"nothing: no such folder"});
  const std::string train = world.rows("train.csv", 8, 1);
  expect_train_error({"--train_file", train, "--text_column", "body"},
                     {"train.csv: there is no column 'body' (columns: text, label)",
                      "hint: choose one of them with --text_column"});
  expect_train_error(
      {"--train_file", world.write("plain.csv", "text\ngood\n")},
      {"plain.csv: no label column (columns: text; looked for: label, labels)", "--label_column"});
  expect_train_error({"--train_file", world.write("rows.docx", "x")},
                     {"rows.docx: unknown kind of file", ".csv .tsv .jsonl"});
}

TEST_F(BadData, RowsThatDoNotParse) {
  expect_train_error({"--train_file", world.write("ragged.csv", "text,label\na,b\nc,d,e\n")},
                     {"ragged.csv: line 3: 3 columns where the header has 2",
                      "hint: a field with a comma in it must be in double quotes"});
  expect_train_error(
      {"--train_file", world.write("latin.csv", "text,label\na,b\nc\xe9,d\n")},
      {"latin.csv: line 3: not valid UTF-8 (byte 0xE9 at byte 2", "hint: save the file as UTF-8"});
  expect_train_error({"--train_file",
                      world.write("rows.jsonl", "{\"text\": \"a\", \"label\": \"b\"}\n{\"text\": \"a\", \n")},
                     {"rows.jsonl: line 2"});
  expect_train_error({"--train_file", world.write("cut.csv.gz", "\x1f\x8b\x08\x00")},
                     {"cut.csv.gz", "truncated"});
}

TEST_F(BadData, EmptyFiles) {
  expect_train_error({"--train_file", world.write("empty.csv", "")},
                     {"empty.csv: the file is empty", "hint: the first line must name the columns"});
  expect_train_error({"--train_file", world.write("head.csv", "text,label\n")},
                     {"head.csv: no rows below the header"});
  expect_train_error({"--task", "masked-lm", "--train_file", world.write("empty.txt", "")},
                     {"empty.txt: no text to train on"});
  expect_error({"predict", "--model", world.model(), "--input", world / "empty.txt"},
               {"empty.txt: the file is empty"});
}

TEST_F(BadData, Labels) {
  const std::string train = world.rows("train.csv", 16, 1),
                    unseen = world.write("unseen.csv", "text,label\ngood,pos\nfilm,new\n");
  const std::string
      message = "unseen.csv: line 3: column 'label': label 'new' is not a label of the model (neg, pos)",
      hint = "a label must occur in the training data";
  expect_train_error({"--train_file", train, "--validation_file", unseen}, {message, hint});
  expect_train_error({"--train_file", train, "--test_file", unseen}, {message, hint});
  expect_error({"evaluate", "--model", world.model(), "--test_file", unseen},
               {message, "correct the label, or take a model that was trained with it"});
  // Three labels for a head of two.
  const std::string three = world.write("three.csv", "text,label\na,x\na,y\na,z\n");
  expect_error({"train", "--model", world.model(), "--train_file", three, "--output_dir", world / "out"},
               {"three.csv: line 2: column 'label': label 'x'", "pass --ignore_mismatched_sizes true"});
  const Result anew = run_graft({"train", "--model", world.model(), "--train_file", three, "--output_dir",
                                 world / "anew", "--ignore_mismatched_sizes", "--max_steps", "1"});
  EXPECT_EQ(anew.code, 0) << anew.err;
  EXPECT_THAT(anew.err, HasSubstr("classifier.weight [2, 16] -> [3, 16]"));
}

// One line says where the ids come from: the file's sorted names, or the checkpoint.
TEST_F(BadData, WhereLabelIdsComeFromIsSaidOnce) {
  const auto count = [](const std::string& text, const std::string& part) {
    int n = 0;
    for (size_t at = text.find(part); at != text.npos; at = text.find(part, at + 1)) ++n;
    return n;
  };
  const std::string train = world.rows("train.csv", 16, 1);
  const Result fresh = run_graft(world.train_args("fresh", {"--train_file", train, "--max_steps", "1"}));
  EXPECT_EQ(count(fresh.err, "label ids"), 1) << fresh.err;
  EXPECT_THAT(fresh.err, HasSubstr("label ids follow the sorted names of " + train + ": 0 = neg, 1 = pos"));
  const Result kept = run_graft({"train", "--model", world.model(), "--train_file", train, "--output_dir",
                                 world / "kept", "--max_steps", "1"});
  EXPECT_EQ(count(kept.err, "label ids"), 1) << kept.err;
  EXPECT_THAT(kept.err, HasSubstr("label ids follow the checkpoint's id2label: 0 = neg, 1 = pos"));
}

TEST_F(BadData, ABombIsRefusedBeforeItFillsTheMemory) {
  gzFile file = gzopen((world / "bomb.txt.gz").c_str(), "wb1");
  const std::string piece(1 << 20, 'a');  // 100 MiB without a line end
  for (int i = 0; i < 100; ++i) gzwrite(file, piece.data(), static_cast<unsigned>(piece.size()));
  gzclose(file);
  expect_error({"predict", "--model", world.model(), "--input", world / "bomb.txt.gz"},
               {"bomb.txt.gz: line 1: longer than 64 MiB"});
}

TEST_F(BadData, SequencesLongerThanThePositions) {
  const std::string train = world.rows("train.csv", 8, 1);
  expect_train_error({"--train_file", train, "--max_seq_length", "41"},
                     {"--max_seq_length 41 is longer than the model's 40 positions",
                      "hint: use --max_seq_length 40 or less"});
  std::string text = "text\n";
  for (int i = 0; i < 60; ++i) text += "film ";
  expect_error({"predict", "--model", world.model(), "--input", world.write("long.csv", text + "\n"),
                "--max_seq_length", "100"},
               {"longer than the model's 40 positions", "hint: use --max_seq_length 40 or less"});
}

TEST_F(BadData, ADivergingRunStopsWithADiagnosis) {
  expect_train_error(
      {"--train_file", world.rows("train.csv", 32, 1), "--learning_rate", "1e30", "--max_grad_norm", "0"},
      {"the loss is", "nan", "existing checkpoints are unchanged", "hint: ", "--learning_rate"});
}

TEST_F(BadData, OutputFoldersThatCannotBe) {
  const std::string train = world.rows("train.csv", 8, 1);
  const auto into = [&](const std::string& folder) {
    return std::vector<std::string>{"--train_file", train, "--output_dir", folder};
  };
  expect_error(world.train_args("x", into(train)), {"train.csv: is a file; --output_dir must be a folder"});
  expect_error(world.train_args("x", into(train + "/below")), {"cannot make this folder"});
  expect_error(world.train_args("x", into("/proc/graft-output")),
               {"/proc/graft-output: cannot make this folder"});
  expect_error(world.train_args("x", into("/proc/self/task")), {"the output folder is not empty"});
  fs::create_symlink(world / "gone", world / "link");
  expect_error(world.train_args("x", into(world / "link")),
               {"link: is a symbolic link to " + world / "gone" + ", which does not exist",
                "hint: make the folder " + world / "gone"});
  EXPECT_FALSE(fs::exists(world / "gone"));
  // train-tokenizer checks its folder in the same way.
  for (const std::string& folder : {world / "link", train}) {
    expect_error({"train-tokenizer", "--train_file", train, "--output_dir", folder},
                 {folder == train ? "is a file; --output_dir must be a folder" : "is a symbolic link to "});
  }
}

TEST_F(BadData, AFolderThatIsNotEmptyIsLeftAlone) {
  const std::string train = world.rows("train.csv", 8, 1), note = world.write("out/notes.txt", "mine");
  expect_error(world.train_args("out", {"--train_file", train}),
               {world / "out" + ": the output folder is not empty; nothing was written",
                "hint: choose another --output_dir, or give --overwrite_output_dir"});
  EXPECT_EQ(files_in(world / "out"), std::vector<std::string>{"notes.txt"});
  graft_output(
      world.train_args("out", {"--train_file", train, "--overwrite_output_dir", "--max_steps", "1"}));
  EXPECT_EQ(read_file(note), "mine");
  EXPECT_TRUE(fs::exists(world / "out/config.json"));
}

// A limit on the size of a file stands in for a full disk.
TEST_F(BadData, ADiskThatFillsUpLeavesTheOldModel) {
  const std::string model = world.model(), before = read_file(model + "/model.safetensors");
  RunOptions full;
  full.file_size_limit = 4096;
  const Result r = run_graft({"train", "--model", model, "--train_file", world.rows("more.csv", 16, 3),
                              "--output_dir", model, "--overwrite_output_dir", "--max_steps", "2"},
                             full);
  EXPECT_EQ(r.code, 1) << r.err;
  EXPECT_THAT(r.err,
              testing::AllOf(HasSubstr("error: "), HasSubstr(model + "/"), HasSubstr("File too large")));
  EXPECT_EQ(read_file(model + "/model.safetensors"), before);
  for (const std::string& file : files_in(model)) EXPECT_FALSE(file.ends_with(".tmp")) << file;
  EXPECT_EQ(json_lines(graft_output({"predict", "--model", model}, "a good film\n")).front()["label"], "pos");
}

}  // namespace
}  // namespace graft::test
