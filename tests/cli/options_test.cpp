// The grammar of the command line: verbs, --help, spellings, --config, and what a wrong option gets.
#include "base/file.h"
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

TEST(Options, OneFileOfRowsIsRead) {
  const World world;
  const std::string a = world.rows("a.csv", 8, 1), b = world.rows("b.csv", 8, 2),
                    c = world.rows("c.csv", 8, 3);
  expect_usage_error(
      world.train_args("out", {"--train_file", a, b}),
      {"--train_file is given 2 files (", "a.csv, ", "and --task sequence-classification reads one",
       "join the rows of the files into one file"});
  expect_usage_error(world.train_args("out", {"--train_file", a, "--validation_file", b, c, "--do_eval"}),
                     {"--validation_file is given 2 files (", "en=dev.en.csv,de=dev.de.csv"});
}

TEST(Options, FoldersOfAReportAndOfTokensAreCheckedFirst) {
  using testing::AllOf;
  using testing::HasSubstr;
  const World world;
  const std::string rows = world.rows("a.csv", 8, 1), blocker = world.write("blocker", "");
  const Result report = run_graft(world.train_args(
      "out", {"--train_file", rows, "--report_to", "tensorboard", "--logging_dir", blocker + "/logs"}));
  EXPECT_EQ(report.code, 2);
  EXPECT_THAT(report.err, AllOf(HasSubstr("--logging_dir " + blocker + "/logs: "), HasSubstr("is a file"),
                                HasSubstr("choose a folder")));
  EXPECT_FALSE(std::filesystem::exists(world / "out/model.safetensors"));
  const Result tokens =
      run_graft(world.train_args("tokens", {"--train_file", world.lines("t.txt", 40, 1), "--task",
                                            "masked-lm", "--tokenized_path", blocker + "/t"}));
  EXPECT_EQ(tokens.code, 1);
  EXPECT_THAT(tokens.err, AllOf(HasSubstr(blocker + "/t"), HasSubstr("--tokenized_path")));
}

TEST(Options, AnUnfinishedRunIsNoModel) {
  const World world;
  for (const int step : {8, 10}) world.write("run/checkpoint-" + std::to_string(step) + "/config.json", "{}");
  const std::string rows = world.rows("a.csv", 8, 1);
  for (const std::vector<std::string>& args : std::vector<std::vector<std::string>>{
           {"train", "--model", world / "run", "--train_file", rows, "--output_dir", world / "out"},
           {"predict", "--model", world / "run", "--input", rows},
           {"tokenize", "--model", world / "run", "--input", rows},
           {"embed", "--model", world / "run", "--input", rows, "--output", world / "e.npy"}}) {
    const Result r = run_graft(args);
    EXPECT_EQ(r.code, 1) << args.front();
    EXPECT_THAT(
        r.err, testing::AllOf(testing::HasSubstr("the run did not end"), testing::HasSubstr("checkpoint-10")))
        << args.front();
  }
}

TEST(Options, RefusedNamesSayWhy) {
  const std::vector<std::string> start = {"train", "--model", "x", "--train_file", "y"};
  const auto with = [&](std::vector<std::string> more) {
    std::vector<std::string> all = start;
    all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  expect_usage_error(with({"--fp16", "true"}), {"--fp16 true is refused: not yet implemented"});
  expect_usage_error(with({"--deepspeed", "ds.json"}), {"--deepspeed ds.json is refused: it steers PyTorch"});
  expect_usage_error(with({"--push_to_hub"}), {"--push_to_hub", "refused"});
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
  expect_usage_error(with({"--task", "masked-lm", "--label_column", "a"}), {"--label_column is refused"});
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
  expect_usage_error(with({"--per_device_train_batch_size", "0"}),
                     {"out of range: it may be from 1 to 1000000"});
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

TEST_F(Spelling, ConfigFilesAreCheckedKeyByKey) {
  const auto wrong = [&](const std::string& name, const std::string& text,
                         const std::vector<std::string>& parts) {
    std::vector<std::string> all = parts;
    all.push_back(name);
    expect_usage_error({"train", "--config", world.write(name, text)}, all);
  };
  wrong("a.json", R"({"train_file": 5})",
        {"\"train_file\"", "a text or a list of texts was expected, not 5"});
  wrong("b.json", R"({"model": true})", {"\"model\": a text was expected, not true"});
  wrong("c.json", R"({"learning_rate": "fast"})", {"--learning_rate fast: a number"});
  wrong("d.json", R"({"eval_strategy": false})", {"\"eval_strategy\": a text was expected"});
  wrong("e.json", R"({"do_eval": 3})", {"--do_eval 3: true or false"});
  wrong("f.json", R"({"weight-decay": 0.1, "weight_decay": 0.2})", {"--weight_decay is given twice"});
  wrong("g.json", R"({"config": "other.json"})", {"cannot name another"});
  wrong("h.json", R"({"max_train_samples": 0})", {"--max_train_samples 0 is out of range"});
  wrong("i.toml", "learning_rte = 1\n", {"--learning_rte", "did you mean --learning_rate?"});
  wrong("j.toml", "[model]\nname = 1\n", {"\"model\" is an object"});
  wrong("k.json", R"({"fp16": true})", {"--fp16 true is refused"});
}

TEST_F(Spelling, SettingsOfTheScheduleAreAnObject) {
  for (const char* name : {"object.json", "text.json", "table.toml"}) {
    const std::string text =
        std::string(name) == "object.json" ? R"({"lr_scheduler_kwargs": {"num_cycles": 2}})"
        : std::string(name) == "text.json" ? R"({"lr_scheduler_kwargs": "{\"num_cycles\": 2}"})"
                                           : "[lr_scheduler_kwargs]\nnum_cycles = 2\n";
    const Json saved = trained({"--lr_scheduler_type", "cosine", "--config", world.write(name, text)});
    EXPECT_EQ(parse_json(saved["lr_scheduler_kwargs"].get<std::string>(), name)["num_cycles"], 2) << name;
  }
  expect_usage_error(
      {"train", "--model", "x", "--train_file", "y", "--lr_scheduler_kwargs", "{\"num_cycles\": 2}"},
      {"setting of linear, which has none"});
}

TEST_F(Spelling, AByteOrderMarkBeforeAConfigFileIsDropped) {
  for (const char* name : {"bom.json", "bom.toml"}) {
    const bool toml = std::string(name).ends_with("toml");
    const std::string file =
        world.write(name, std::string("\xEF\xBB\xBF") + (toml ? "seed = 5\n" : "{\"seed\": 5}"));
    EXPECT_EQ(trained({"--config", file})["seed"], 5) << name;
  }
}

// The file that a run leaves repeats it.
TEST_F(Spelling, TrainingArgsJsonRepeatsItsRun) {
  trained({"--learning_rate", "1e-3", "--max_steps", "3"});
  const std::string saved = world / "out/training_args.json",
                    first = read_file(world / "out/model.safetensors");
  graft_output({"train", "--config", saved, "--config_name", world / "start/config.json", "--tokenizer_name",
                world / "start", "--train_file", world / "train.csv", "--output_dir", world / "again"});
  EXPECT_EQ(read_file(world / "again/model.safetensors"), first);
  Json again = read_json(world / "again/training_args.json"), before = read_json(saved);
  again["output_dir"] = before["output_dir"] = "";
  EXPECT_EQ(again, before);
}

TEST_F(Spelling, NamesOfTheReferencesScriptsAreTaken) {
  World& w = world;
  trained({});
  const std::string model = w / "out", rows = w.rows("dev.csv", 8, 2);
  for (const char* name : {"--model_name_or_path", "--model-name-or-path", "--model"}) {
    graft_output({"evaluate", name, model, "--test_file", rows, "--batch_size", "4", "--max_length", "20"});
    graft_output({"predict", name, model, "--threads", "1"}, "a good film\n");
    graft_output({"tokenize", name, model}, "a good film\n");
    graft_output({"info", name, model});
  }
  graft_output({"train", "--model_name_or_path", model, "--train_file", rows, "--eval_file", rows,
                "--output_dir", w / "tuned", "--max_length", "20", "--max_steps", "1", "--text_column_name",
                "text"});
  EXPECT_EQ(read_json(w / "tuned/training_args.json")["max_seq_length"], 20);
}

TEST(Options, AMisspeltOptionGetsASuggestionInEveryVerb) {
  const std::vector<std::pair<std::string, std::string>> options = {{"train", "learning_rate"},
                                                                    {"evaluate", "test_file"},
                                                                    {"predict", "return_all_scores"},
                                                                    {"tokenize", "add_special_tokens"},
                                                                    {"info", "model"},
                                                                    {"parity", "golden"},
                                                                    {"pull", "model"},
                                                                    {"train-tokenizer", "vocab_size"}};
  for (const auto& [verb, option] : options) {
    std::string wrong = option;
    std::swap(wrong[0], wrong[1]);
    expect_usage_error({verb, "--" + wrong, "x"}, {"--" + wrong, "did you mean --" + option + "?"});
    std::string misspelt = verb;
    std::swap(misspelt[1], misspelt[2]);
    expect_usage_error({misspelt}, {"did you mean `graft " + verb + "`?"});
  }
}

TEST(Options, HowToComputeIsAnOptionOfEveryCommandThatComputes) {
  World world;
  const std::string model = world.model(), rows = world.rows("rows.csv", 16, 5),
                    texts = world.lines("t.txt", 9, 4);
  const auto both = [&](std::vector<std::string> args, const std::vector<std::string>& more) {
    args.insert(args.end(), more.begin(), more.end());
    const Result r = run_graft(args);
    EXPECT_EQ(r.code, 0) << args[0] << ": " << r.err;
    return r;
  };
  const std::vector<std::string> predict = {"predict", "--model", model, "--input", texts},
                                 evaluate = {"evaluate", "--model", model, "--test_file", rows, "--json"};
  for (const std::vector<std::string>& args : {predict, evaluate}) {
    const Result full = both(args, {"--bf16", "false"}), half = both(args, {"--bf16", "true"});
    EXPECT_THAT(full.err, HasSubstr("fp32 (--bf16 false)"));
    EXPECT_THAT(half.err, HasSubstr("bf16 (--bf16 true)"));
    EXPECT_NE(full.out, half.out);
    EXPECT_THAT(both(args, {"--num_threads", "1"}).err, HasSubstr("1 thread (--num_threads)"));
  }
  both({"tokenize", "--model", model, "--input", texts}, {"--num_threads", "2"});
  both({"train-tokenizer", "--train_file", texts, "--vocab_size", "60", "--output_dir", world / "tok"},
       {"--num_threads", "1"});
  both(world.train_args("new", {"--train_file", rows, "--max_steps", "1"}),
       {"--num_threads", "1", "--bf16", "false"});
  for (const char* n : {"0", "-1", "2.5", "1e9"})
    expect_usage_error({"predict", "--model", "x", "--num_threads", n}, {"--num_threads"});
  expect_usage_error({"predict", "--model", "x", "--max_seq_length", "4294967297"}, {"--max_seq_length"});
  expect_usage_error({"predict", "--model", "x", "--top_k", "nan"}, {"--top_k nan: an integer"});
  expect_usage_error({"evaluate", "--model", "x", "--test_file", "y", "--max_eval_samples", "0"},
                     {"--max_eval_samples 0 is out of range", "or -1 (the default)"});
}

TEST(Options, ValuesWithoutAMeaningNeverTrain) {
  World world;
  const std::string rows = world.rows("rows.csv", 16, 5);
  for (const std::vector<std::string>& wrong : {std::vector<std::string>{"--num_train_epochs", "inf"},
                                                {"--logging_steps", "inf"},
                                                {"--weight_decay", "-5"},
                                                {"--weight_decay", "nan"},
                                                {"--per_device_eval_batch_size", "0"},
                                                {"--per_device_train_batch_size", "9223372036854775807"},
                                                {"--gradient_accumulation_steps", "9223372036854775807"},
                                                {"--num_train_epochs", "1e300"},
                                                {"--save_safetensors", "false"},
                                                {"--tf32", "banana"},
                                                {"--local_rank", "3"},
                                                {"--past_index", "2"}}) {
    std::vector<std::string> args = {"--train_file", rows};
    args.insert(args.end(), wrong.begin(), wrong.end());
    expect_usage_error(world.train_args("out", args), {wrong[0] + " "});
    EXPECT_FALSE(std::filesystem::exists(world / "out"));
  }
  const Result r = run_graft(world.train_args(
      "out", {"--train_file", rows, "--max_steps", "1", "--tf32", "true", "--per_device_train_batch_size",
              "1000000", "--gradient_accumulation_steps", "1000000000"}));
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_THAT(r.err, HasSubstr("--tf32 true has no effect here: graft computes on the CPU"));
}

TEST(Options, AMisspeltEnvironmentVariableIsNamed) {
  RunOptions options;
  options.environment = {{"GRAFT_IAS", "avx2"}, {"GRAFTER", "1"}, {"GRAFT_ENTIRELY_OTHER", "1"}};
  const Result r = run_graft({"--version"}, options);
  EXPECT_EQ(r.code, 0);
  EXPECT_EQ(r.err, "warning: the environment variable GRAFT_IAS has no effect; did you mean GRAFT_ISA?\n");
}

// The run's own starting point as its output: the same model as elsewhere.
TEST(Options, TheModelsFolderMayBeTheOutput) {
  World world;
  const std::string rows = world.rows("rows.csv", 32, 5), copy = world.model_copy("copy");
  const auto args = [&](const std::string& to) {
    return std::vector<std::string>{"train",
                                    "--model",
                                    copy,
                                    "--train_file",
                                    rows,
                                    "--output_dir",
                                    to,
                                    "--max_steps",
                                    "4",
                                    "--overwrite_output_dir",
                                    "--save_strategy",
                                    "no"};
  };
  graft_output(args(world / "elsewhere"));
  std::vector<std::string> without = args(copy);
  without.erase(std::find(without.begin(), without.end(), "--overwrite_output_dir"));
  EXPECT_EQ(run_graft(without).code, 1);
  graft_output(args(copy));
  for (const char* file : {"model.safetensors", "config.json", "vocab.txt", "tokenizer.json"})
    EXPECT_EQ(read_file(copy + "/" + file), read_file(world / (std::string("elsewhere/") + file))) << file;
}

}  // namespace
}  // namespace graft::test
