// The grammar of the command line: verbs, --help, spellings, --config, and what a wrong option gets.
#include "cli/graft_program.h"

namespace graft::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

void expect_usage_error(const std::vector<std::string>& args, const std::vector<std::string>& parts) {
  const Result r = run_graft(args);
  EXPECT_EQ(r.code, 2) << r.err;
  EXPECT_EQ(r.out, "");
  EXPECT_THAT(r.err, StartsWith("error: "));
  for (const std::string& part : parts) EXPECT_THAT(r.err, HasSubstr(part));
}

TEST(Options, HelpListsVerbsOnStdout) {
  for (const char* arg : {"--help", "-h", "help"}) {
    const std::string out = graft_output({arg});
    for (const char* verb : {"train", "evaluate", "predict", "tokenize", "info", "parity", "pull"})
      EXPECT_THAT(out, HasSubstr(verb));
    EXPECT_THAT(out, HasSubstr("Examples:"));
  }
  EXPECT_THAT(graft_output({"--version"}), testing::MatchesRegex("graft [0-9]+\\.[0-9]+\\.[0-9]+\n"));
}

TEST(Options, NoVerbIsAUsageErrorWithTheHelpOnStderr) {
  const Result r = run_graft({});
  EXPECT_EQ(r.code, 2);
  EXPECT_EQ(r.out, "");
  EXPECT_THAT(r.err, HasSubstr("usage: graft VERB"));
}

TEST(Options, EveryVerbHasHelpWithExamples) {
  for (const std::string& verb :
       std::vector<std::string>{"train", "evaluate", "predict", "tokenize", "info", "parity", "pull"}) {
    const Result r = run_graft({verb, "--help"});
    EXPECT_EQ(r.code, 0) << verb;
    EXPECT_EQ(r.err, "");
    EXPECT_THAT(r.out, AllOf(HasSubstr("Examples:\n  graft " + verb), HasSubstr("Options:"))) << verb;
  }
  const std::string train = graft_output({"train", "--help"});
  EXPECT_THAT(train, AllOf(HasSubstr("--learning_rate VALUE"), HasSubstr("[5e-05]"),
                           HasSubstr("--do_eval [true|false]")));
}

TEST(Options, AnUnknownNameNamesTheNearest) {
  expect_usage_error({"trian"}, {"no verb \"trian\"", "did you mean `graft train`?"});
  expect_usage_error({"train", "--learning_rat", "1e-4"},
                     {"--learning_rat", "did you mean --learning_rate?"});
  expect_usage_error({"predict", "--modle", "x"}, {"--modle", "did you mean --model?"});
  expect_usage_error({"train", "--zzzzqqqq", "1"},
                     {"--zzzzqqqq is not an option", "graft train --help lists them"});
  expect_usage_error({"evaluate", "--model", "x", "stray"}, {"stray"});
}

TEST(Options, WhatIsNeededIsSaid) {
  expect_usage_error({"predict"}, {"--model is needed", "graft predict --help"});
  expect_usage_error({"evaluate", "--model", "x"}, {"--test_file is needed"});
  expect_usage_error({"train", "--model", "x"}, {"--train_file is needed"});
  expect_usage_error({"train", "--train_file", "x"}, {"--model", "--config_name"});
  expect_usage_error({"train", "--config_name", "x", "--train_file", "y"},
                     {"--config_name needs --tokenizer_name"});
  expect_usage_error({"pull"}, {"graft pull ORG/NAME"});
}

TEST(Options, RefusedNamesSayWhy) {
  const std::vector<std::string> start = {"train", "--model", "x", "--train_file", "y"};
  const auto with = [&](std::vector<std::string> more) {
    std::vector<std::string> all = start;
    all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  expect_usage_error(with({"--fp16", "true"}), {"--fp16 true is refused: it is not implemented yet"});
  expect_usage_error(with({"--deepspeed", "ds.json"}), {"--deepspeed ds.json is refused: it steers PyTorch"});
  expect_usage_error(with({"--push_to_hub"}), {"--push_to_hub", "refused"});
  expect_usage_error(with({"--task", "ner"}), {"--task ner is not implemented yet"});
  expect_usage_error(with({"--task", "sequence-clasification"}),
                     {"did you mean --task sequence-classification?"});
}

TEST(Options, AnOptionThatTheTaskIgnoresIsRefused) {
  const std::vector<std::string> start = {"train", "--model", "x", "--train_file", "y"};
  const auto with = [&](std::vector<std::string> more) {
    std::vector<std::string> all = start;
    all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  expect_usage_error(with({"--mlm_probability", "0.2"}), {"--mlm_probability is refused", "masked-lm"});
  expect_usage_error(with({"--task", "masked-lm", "--text_column", "a"}), {"--text_column is refused"});
  expect_usage_error(with({"--task", "masked-lm", "--max_train_samples", "4"}),
                     {"--max_train_samples is refused", "--max_steps"});
  expect_usage_error(with({"--task", "masked-lm", "--test_file", "t"}),
                     {"--test_file is refused", "--validation_file"});
  expect_usage_error(with({"--do_train", "false"}), {"--do_train false is refused", "graft evaluate"});
  for (const std::vector<std::string>& asks :
       {std::vector<std::string>{"--do_eval"}, {"--eval_strategy", "epoch"}, {"--eval_on_start"}}) {
    expect_usage_error(with(asks), {"there is no --validation_file"});
  }
}

TEST(Options, ValuesThatAreNone) {
  const std::vector<std::string> start = {"train", "--model", "x", "--train_file", "y"};
  const auto with = [&](std::vector<std::string> more) {
    std::vector<std::string> all = start;
    all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  expect_usage_error(with({"--learning_rate", "fast"}), {"--learning_rate fast", "a number was expected"});
  expect_usage_error(with({"--save_steps=ten"}), {"--save_steps ten", "a number was expected"});
  expect_usage_error(with({"--max_steps", "1.5"}), {"an integer was expected"});
  expect_usage_error(with({"--do_eval", "maybe"}), {"true or false was expected"});
  expect_usage_error(with({"--eval_strategy", "sometimes"}), {"there are: no, steps, epoch"});
  expect_usage_error(with({"--lr_scheduler_type", "linaer"}), {"linaer"});
  expect_usage_error(with({"--per_device_train_batch_size", "0"}), {"must be at least 1"});
  expect_usage_error(with({"--learning_rate"}), {"--learning_rate needs a value"});
}

// The whole life of an option: written in some spelling, read back from training_args.json.
struct Spelling : testing::Test {
  World world;
  Json trained(const std::vector<std::string>& more) {
    std::vector<std::string> args = world.train_args("out", {"--train_file", world.rows("train.csv", 16, 1),
                                                             "--max_steps", "1", "--overwrite_output_dir"});
    args.insert(args.end(), more.begin(), more.end());
    graft_output(args);
    return read_json(world / "out/training_args.json");
  }
};

TEST_F(Spelling, DashesEqualsSignsUnderscoresInNumbersBareBooleans) {
  const Json args =
      trained({"--learning-rate=1e-4", "--per-device-train-batch-size", "1_0", "--save_steps=10_000",
               "--warmup_ratio=.5", "--logging_first_step", "--dataloader_drop_last", "false",
               "--evaluation_strategy", "no", "--max_steps", "2"});
  EXPECT_EQ(args["learning_rate"], 1e-4);
  EXPECT_EQ(args["per_device_train_batch_size"], 10);
  EXPECT_EQ(args["save_steps"], 10000);
  EXPECT_EQ(args["warmup_ratio"], 0.5);
  EXPECT_EQ(args["logging_first_step"], true);
  EXPECT_EQ(args["dataloader_drop_last"], false);
  EXPECT_EQ(args["max_steps"], 2);  // the last one given
}

TEST_F(Spelling, ConfigFilesHoldOptionsAndTheCommandLineGoesFirst) {
  const std::string json = world.write(
      "options.json", R"({"learning_rate": 0.01, "seed": 7, "weight-decay": "1e-1", "do_eval": false})");
  Json args = trained({"--config", json, "--seed", "9"});
  EXPECT_EQ(args["learning_rate"], 5e-3);  // train_args gives it
  EXPECT_EQ(args["seed"], 9);
  EXPECT_EQ(args["weight_decay"], 0.1);

  const std::string toml =
      world.write("options.toml", "adam_beta2 = 0.98\nseed = 1_1\nlogging_first_step = true\n");
  args = trained({"--config", toml});
  EXPECT_EQ(args["adam_beta2"], 0.98);
  EXPECT_EQ(args["seed"], 11);
  EXPECT_EQ(args["logging_first_step"], true);
}

TEST_F(Spelling, AConfigFileCanHoldEverything) {
  const std::string json =
      world.write("all.json", Json({{"config_name", world / "start/config.json"},
                                    {"tokenizer_name", world / "start"},
                                    {"train_file", Json::array({world.rows("train.csv", 8, 1)})},
                                    {"output_dir", world / "out"},
                                    {"max_steps", 1}})
                                  .dump());
  graft_output({"train", "--config", json});
  EXPECT_TRUE(std::filesystem::exists(world / "out/model.safetensors"));
}

TEST_F(Spelling, AWrongConfigFileIsNamed) {
  expect_usage_error({"train", "--config", world.write("a.json", R"({"learning_rte": 1})")},
                     {"a.json", "--learning_rte", "did you mean --learning_rate?"});
  expect_usage_error({"train", "--config", world.write("b.json", R"({"seed": {"a": 1}})")},
                     {"b.json", "\"seed\""});
  expect_usage_error({"train", "--config", world.write("c.toml", "seed = 1\nseed = \n")},
                     {"c.toml", "line 2"});
  expect_usage_error({"train", "--config", world.write("d.json", "[1]")},
                     {"d.json", "an object of options was expected"});
  Result r = run_graft({"train", "--config", world.write("e.json", "{\"seed\": 1,\n oops}")});
  EXPECT_EQ(r.code, 1);
  EXPECT_THAT(r.err, AllOf(HasSubstr("e.json"), HasSubstr("line 2")));
  r = run_graft({"train", "--config", world / "absent.json"});
  EXPECT_EQ(r.code, 1);
  EXPECT_THAT(r.err, HasSubstr("absent.json"));
}

}  // namespace
}  // namespace graft::test
