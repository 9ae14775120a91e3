// Options without an effect, and values that a file holds twice, are named.
#include "base/file.h"
#include "cli/graft_program.h"

namespace graft::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

struct NoEffect : testing::Test {
  World world;
  std::string train = world.rows("train.csv", 16, 1);
  // What a run of one step says; on `train` unless a --train_file is given.
  std::string said(std::vector<std::string> more) {
    if (std::find(more.begin(), more.end(), "--train_file") == more.end())
      more.insert(more.begin(), {"--train_file", train});
    more.insert(more.begin(), {"--max_steps", "1", "--overwrite_output_dir"});
    const Result r = run_graft(world.train_args("out", more));
    EXPECT_EQ(r.code, 0) << r.err;
    return r.err;
  }
};

TEST_F(NoEffect, OptionsWithoutTheirData) {
  EXPECT_THAT(said({"--max_eval_samples", "4"}),
              HasSubstr("--max_eval_samples has no effect here: there is no --validation_file\n"));
  EXPECT_THAT(said({"--max_predict_samples", "4"}),
              HasSubstr("--max_predict_samples has no effect here: there is no --test_file\n"));
  EXPECT_THAT(
      said({"--per_device_eval_batch_size", "4"}),
      HasSubstr("--per_device_eval_batch_size has no effect here: there is no --validation_file and no "
                "--test_file\n"));
  EXPECT_THAT(said({"--ignore_mismatched_sizes"}),
              HasSubstr("--ignore_mismatched_sizes has no effect here: there is no --model\n"));
  const std::string dev = world.rows("dev.csv", 8, 2);
  EXPECT_THAT(
      said({"--max_eval_samples", "4", "--per_device_eval_batch_size", "4", "--validation_file", dev}),
      Not(HasSubstr("no effect here")));
  EXPECT_THAT(said({"--max_predict_samples", "4", "--per_device_eval_batch_size", "4", "--test_file", dev}),
              Not(HasSubstr("no effect here")));
  // The file of an earlier run repeats its batch size.
  EXPECT_THAT(said({"--config", world / "out/training_args.json"}),
              Not(HasSubstr("per_device_eval_batch_size")));
}

TEST_F(NoEffect, MaskedLmHoldsEvaluationTextOut) {
  const std::vector<std::string> text = {"--task",
                                         "masked-lm",
                                         "--train_file",
                                         world.lines("t.txt", 200, 1),
                                         "--max_seq_length",
                                         "16",
                                         "--per_device_eval_batch_size",
                                         "4"};
  std::vector<std::string> evaluated = text;
  evaluated.insert(evaluated.end(), {"--eval_strategy", "epoch"});
  EXPECT_THAT(said(evaluated), Not(HasSubstr("no effect here")));
  EXPECT_THAT(said(text), HasSubstr("--per_device_eval_batch_size has no effect here"));
}

// A csv is read by its column of text, in masked-lm as elsewhere.
TEST_F(NoEffect, MaskedLmReadsTheColumnThatIsNamed) {
  const std::string file = world.write("t.csv", "id,body\n1,a good film\n2,the bad soup was very bad\n");
  const std::vector<std::string> args = {"--task", "masked-lm",      "--train_file",
                                         file,     "--line_by_line", "--text_column"};
  const auto with = [&](const std::string& column) {
    std::vector<std::string> all = args;
    all.push_back(column);
    return all;
  };
  EXPECT_THAT(said(with("body")), HasSubstr("train corpus: 2 lines -> 2 sequences"));
  Result r = run_graft(world.train_args("none", with("text")));
  EXPECT_EQ(r.code, 1);
  EXPECT_THAT(r.err, HasSubstr("t.csv: there is no column 'text' (columns: id, body)"));
  std::vector<std::string> unnamed(args.begin(), args.end() - 1);
  r = run_graft(world.train_args("none", unnamed));
  EXPECT_EQ(r.code, 1);
  EXPECT_THAT(r.err, AllOf(HasSubstr("t.csv: no text column"), HasSubstr("--text_column")));
  std::vector<std::string> labelled = unnamed;
  labelled.insert(labelled.end(), {"--label_column", "id"});
  r = run_graft(world.train_args("none", labelled));
  EXPECT_EQ(r.code, 2);
  EXPECT_THAT(r.err, HasSubstr("--label_column is refused for --task masked-lm: text has no labels"));
  // The same of `evaluate`.
  const Json scores = json_lines(graft_output({"evaluate", "--model", world / "out", "--test_file", file,
                                               "--text_column", "body", "--json"}))
                          .front();
  EXPECT_EQ(scores["eval_samples"], 2);
  r = run_graft({"evaluate", "--model", world / "out", "--test_file", file, "--label_column", "id"});
  EXPECT_EQ(r.code, 2);
  EXPECT_THAT(r.err, HasSubstr("--label_column is refused for a masked-lm model"));
}

TEST_F(NoEffect, FilesThatAreNotUsedOrUsedTwice) {
  const std::string dev = world.rows("dev.csv", 8, 2);
  EXPECT_THAT(said({"--validation_file", dev, "--do_eval", "false"}),
              HasSubstr("--validation_file " + dev + " is not evaluated: --do_eval is false"));
  for (const char* option : {"--validation_file", "--test_file"}) {
    EXPECT_THAT(said({option, world / "./train.csv"}),
                HasSubstr(std::string("warning: ") + option + " " + world / "./train.csv" +
                          " is the training data too"));
  }
  EXPECT_THAT(said({"--validation_file", dev}),
              AllOf(Not(HasSubstr("training data too")), Not(HasSubstr("not evaluated"))));
}

TEST_F(NoEffect, PairsAndSingleTextsInOneRun) {
  const std::string pairs = world.write("pairs.csv", "sentence1,sentence2,label\na,b,pos\nc,d,neg\n");
  for (const char* option : {"--validation_file", "--test_file"}) {
    EXPECT_THAT(said({option, pairs}), HasSubstr("warning: " + pairs + ": pairs of texts, but " + train +
                                                 " has single texts; name the columns "
                                                 "with --text_column"));
  }
}

TEST_F(NoEffect, TrainTokenizersOptionsForOtherTypes) {
  const std::string text = world.lines("t.txt", 50, 1);
  const auto run = [&](const std::vector<std::string>& more) {
    std::vector<std::string> args = {"train-tokenizer", "--train_file",     text, "--vocab_size", "300",
                                     "--output_dir",    world / "tokenizer"};
    args.insert(args.end(), more.begin(), more.end());
    return run_graft(args);
  };
  for (const std::vector<std::string>& more : {std::vector<std::string>{"--type", "bpe", "--lowercase"},
                                               {"--type", "unigram", "--lowercase", "true"},
                                               {"--type", "wordpiece", "--add_prefix_space"},
                                               {"--type", "unigram", "--min_frequency", "2"},
                                               {"--type", "bpe", "--limit_alphabet", "10"},
                                               {"--type", "bpe", "--initial_alphabet", "x"}}) {
    const Result r = run(more);
    EXPECT_EQ(r.code, 2);
    EXPECT_THAT(r.err, HasSubstr(more[2] + " is refused for --type " + more[1] + ": it is for "));
  }
  EXPECT_EQ(run({"--type", "bpe", "--lowercase", "false", "--min_frequency", "2"}).code, 0);
  // The tokenizer of a model stays.
  const Result r = run_graft(
      {"train-tokenizer", "--train_file", text, "--vocab_size", "60", "--output_dir", world.model()});
  EXPECT_EQ(r.code, 1);
  EXPECT_THAT(r.err, HasSubstr("holds a model, whose tokenizer would be replaced"));
}

// `train`, `evaluate` and `predict` read the columns of such files, these commands do not.
TEST_F(NoEffect, FilesWithColumnsReadAsLines) {
  const std::string warned = ": each line is read as a text, whole: this command does not read columns";
  const std::string model = world.model(), text = world.lines("t.txt", 9, 1);
  for (const bool stats : {false, true}) {
    std::vector<std::string> args = {"tokenize", "--model", model, "--input", train};
    if (stats) args.emplace_back("--stats");
    EXPECT_THAT(run_graft(args).err, HasSubstr("warning: " + train + warned));
    args[4] = text;
    EXPECT_EQ(run_graft(args).err, "");
  }
  EXPECT_THAT(
      run_graft({"train-tokenizer", "--train_file", train, "--vocab_size", "60", "--output_dir", world / "v"})
          .err,
      HasSubstr(train + warned));
  const Result r =
      run_graft({"tokenize", "--model", model, "--input", text, "--stats", "--add_special_tokens", "true"});
  EXPECT_EQ(r.code, 2);
  EXPECT_THAT(r.err, HasSubstr("--add_special_tokens is refused with --stats"));
}

// Without a masked token there is no loss: not 0, nor a perplexity of 1.
TEST_F(NoEffect, NothingMaskedIsNoPerfectScore) {
  said({"--task", "masked-lm", "--train_file", world.lines("t.txt", 20, 1), "--mlm_probability", "1e-9",
        "--line_by_line"});
  const Result r = run_graft(
      {"evaluate", "--model", world / "out", "--test_file", world.write("one.txt", "good\n"), "--json"});
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_THAT(r.err, HasSubstr("warning: evaluation: no masked token in 1 examples: the loss is undefined"));
  const Json scores = json_lines(r.out).front();
  for (const char* name : {"eval_loss", "eval_perplexity", "eval_accuracy"})
    EXPECT_TRUE(scores[name].is_null()) << name;
}

TEST_F(NoEffect, AConfigFileGivesEachOptionOneValue) {
  const auto refused = [&](const std::string& json, const std::string& part) {
    const Result r =
        run_graft(world.train_args("no", {"--train_file", train, "--config", world.write("c.json", json)}));
    EXPECT_EQ(r.code, 2) << json;
    EXPECT_THAT(r.err, AllOf(HasSubstr("c.json: "), HasSubstr(part)));
  };
  refused(R"({"max_steps": [1]})", "\"max_steps\": one value was expected, not [1]");
  refused(R"({"max_steps": []})", "\"max_steps\": one value was expected, not []");
  refused(R"({"do_eval": [true, false]})", "\"do_eval\": one value was expected");
  refused(R"({"output_dir": ["a"]})", "\"output_dir\": one value was expected");
  refused(R"({"ddp_backend": ["gloo", "nccl"]})", "--ddp_backend gloo, nccl is refused");
  refused(R"({"max_steps": 1, "seed": 2, "max_steps": 3})", "\"max_steps\" is given twice");
  refused("{ \"seed\": {\"a\": [\"}\"]}, \"se\\u0065d\": 3}", "\"seed\" is given twice");
  EXPECT_THAT(said({"--config",
                    world.write("ok.json", R"({"dataloader_num_workers": [4], "debug": [], "bf16": null})")}),
              HasSubstr("--dataloader_num_workers 4 has no effect here"));
}

TEST_F(NoEffect, NumbersThatNoIntegerHolds) {
  const auto refused = [&](const std::string& option, const std::string& value, const std::string& range) {
    const Result r = run_graft(world.train_args("no", {"--train_file", train, option, value}));
    EXPECT_EQ(r.code, 2);
    EXPECT_THAT(r.err, HasSubstr(option + " " + value + " is out of range: it may be " + range + "\n"));
  };
  for (const char* value : {"1e30", "9223372036854775808", "-1e19"}) {
    refused("--per_device_eval_batch_size", value, "from 1 to 1000000");
    refused("--max_train_samples", value, "from 1 to 1000000000000");
  }
  refused("--seed", "1e30", "from 0 to 18446744073709551615");
}

}  // namespace
}  // namespace graft::test
