// Where an option's value comes from: flags, --config, GRAFT_ variables, defaults; --print_config shows it.
#include "base/file.h"
#include "base/folder.h"
#include "cli/graft_program.h"

namespace graft::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

Json config_of(std::vector<std::string> args, const std::map<std::string, std::string>& environment = {}) {
  args.insert(args.begin(), "train");
  args.insert(args.end(), {"--print_config", "json"});
  RunOptions options;
  options.environment = environment;
  const Result r = run_graft(args, options);
  EXPECT_EQ(r.code, 0) << r.err;
  return r.code == 0 ? Json::parse(r.out) : Json::object();
}

std::string source(const Json& config, const std::string& name) {
  return config.at(name).at("source").get<std::string>();
}

TEST(Config, FlagsOverrideTheFileWhichOverridesTheEnvironment) {
  const TempDir dir;
  const std::string file =
      dir.write("c.json", R"({"seed": 2, "max-steps": 20, "train_file": ["a.csv"]})").string();
  const Json config = config_of({"--config", file, "--seed", "1", "--evaluation_strategy", "epoch"},
                                {{"GRAFT_SEED", "3"},
                                 {"GRAFT_MAX_STEPS", "30"},
                                 {"GRAFT_LEARNING_RATE", "3e-5"},
                                 {"GRAFT_TASK", "ner"},
                                 {"GRAFT_WEIGHT_DECAY", ""}});
  EXPECT_EQ(config["seed"]["value"], 1);
  EXPECT_EQ(source(config, "seed"), "flag");
  EXPECT_EQ(config["max_steps"]["value"], 20);
  EXPECT_EQ(source(config, "max_steps"), file + ": max-steps");
  EXPECT_EQ(config["learning_rate"]["value"], 3e-5);
  EXPECT_EQ(source(config, "learning_rate"), "environment GRAFT_LEARNING_RATE");
  EXPECT_EQ(config["task"]["value"], "ner");
  EXPECT_EQ(source(config, "weight_decay"), "default");
  EXPECT_EQ(source(config, "eval_strategy"), "flag --evaluation_strategy");
  EXPECT_EQ(config["do_eval"]["value"], true);
  EXPECT_EQ(source(config, "do_eval"), "derived");
  EXPECT_EQ(config["eval_steps"]["value"], 500);
  EXPECT_EQ(source(config, "eval_steps"), "derived");
  EXPECT_EQ(config["train_file"]["value"], Json::array({"a.csv"}));
}

TEST(Config, AFileMayBeNamedByTheEnvironment) {
  const TempDir dir;
  const std::string file =
      dir.write("c.toml", "seed = 5\nreport_to = [\"tensorboard\", \"jsonl\"]\n").string();
  const Json config = config_of({}, {{"GRAFT_CONFIG", file}});
  EXPECT_EQ(config["seed"]["value"], 5);
  EXPECT_EQ(config["report_to"]["value"], "tensorboard,jsonl");
  EXPECT_EQ(source(config, "config"), "environment GRAFT_CONFIG");
}

TEST(Config, IsATableByDefault) {
  const std::string out = graft_output({"train", "--seed", "7", "--output_dir", "~/x", "--print_config"});
  EXPECT_THAT(out, testing::ContainsRegex("\nseed +7 +flag\n"));
  EXPECT_THAT(out, testing::ContainsRegex("\nlearning_rate +5e-05 +default\n"));
  EXPECT_THAT(out, testing::ContainsRegex("\noutput_dir +/.*/x +flag\n"));
  const Result wrong = run_graft({"train", "--seed", "7", "--print_config", "xml"});
  EXPECT_EQ(wrong.code, 2);
  EXPECT_THAT(wrong.err, HasSubstr("--print_config xml is not known; there are: table, json"));
}

TEST(Config, WrongValuesAreNamedWithTheirSource) {
  RunOptions options;
  options.environment = {{"GRAFT_LEARNING_RATE", "fast"}};
  const Result r = run_graft({"train", "--print_config"}, options);
  EXPECT_EQ(r.code, 2);
  EXPECT_THAT(r.err, HasSubstr("environment variable GRAFT_LEARNING_RATE: --learning_rate fast"));
  const Result range = run_graft({"train", "--warmup_ratio", "3", "--print_config"});
  EXPECT_EQ(range.code, 2);
  EXPECT_THAT(range.err, HasSubstr("--warmup_ratio 3 is out of range"));
}

TEST(Config, AVariableThatNamesNoOptionIsWarnedOf) {
  RunOptions options;
  options.environment = {
      {"GRAFT_LEARNING_RAT", "1"}, {"GRAFT_XYZZY", "1"}, {"GRAFT_SEED", "1"}, {"GRAFT_CHECKPOINT", "x"}};
  const Result train = run_graft({"train", "--print_config"}, options);
  EXPECT_EQ(
      train.err,
      "warning: the environment variable GRAFT_LEARNING_RAT has no effect; did you mean "
      "GRAFT_LEARNING_RATE?\n"
      "warning: the environment variable GRAFT_XYZZY has no effect: it names no option of `graft train`\n");
  const Result other = run_graft({"info", "--help"}, options);
  EXPECT_THAT(other.err,
              AllOf(HasSubstr("GRAFT_LEARNING_RAT "), Not(HasSubstr("XYZZY")), Not(HasSubstr("SEED"))));
}

// A run repeated from the training_args.json that it saved: all bits are equal.
TEST(Config, TheSavedArgumentsRepeatTheRun) {
  const World world;
  const std::string rows = world.rows("train.csv", 60, 1), eval = world.rows("eval.csv", 20, 2);
  graft_output(world.train_args(world / "first", {"--train_file",
                                                  rows,
                                                  "--validation_file",
                                                  eval,
                                                  "--learning_rate",
                                                  "1e-3",
                                                  "--warmup_ratio",
                                                  "0.2",
                                                  "--seed",
                                                  "11",
                                                  "--max_steps",
                                                  "12",
                                                  "--weight_decay",
                                                  "0.1",
                                                  "--gradient_accumulation_steps",
                                                  "2",
                                                  "--eval_strategy",
                                                  "steps",
                                                  "--eval_steps",
                                                  "4",
                                                  "--max_train_samples",
                                                  "50"}));
  graft_output({"train", "--config", world / "first/training_args.json", "--output_dir", world / "second"});
  EXPECT_EQ(read_file(world / "first/model.safetensors"), read_file(world / "second/model.safetensors"));
  Json first = read_json(world / "first/training_args.json"),
       second = read_json(world / "second/training_args.json");
  first["output_dir"] = second["output_dir"] = "";
  EXPECT_EQ(first.dump(), second.dump());
}

// A file of all arguments, as graft and the reference save it: nothing is said about the defaults in it.
TEST(Config, DefaultsInAFileAreNotSaid) {
  const World world;
  const std::string rows = world.rows("train.csv", 40, 1), eval = world.rows("eval.csv", 20, 2);
  graft_output(world.train_args(
      world / "first", {"--train_file", rows, "--validation_file", eval, "--num_train_epochs", "1"}));
  Json saved = read_json(world / "first/training_args.json");
  saved.update(
      {{"fp16", false}, {"dataloader_pin_memory", true}, {"local_rank", -1}, {"push_to_hub", false}});
  const auto said = [&](const std::string& output) {
    const Result r = run_graft(
        {"train", "--config", world.write("args.json", saved.dump()), "--output_dir", world / output});
    EXPECT_EQ(r.code, 0) << r.err;
    return r.err;
  };
  const std::string quiet = said("second");
  for (const char* word : {"is taken here", "no effect"}) EXPECT_THAT(quiet, Not(HasSubstr(word)));
  saved["logging_dir"] = world / "logs";
  saved["dataloader_pin_memory"] = false;
  EXPECT_THAT(said("third"), AllOf(HasSubstr("--logging_dir is taken here"),
                                   HasSubstr("--dataloader_pin_memory false has no effect here")));
}

TEST(Config, LogLevelAndProgress) {
  const World world;
  const std::vector<std::string> args = {"--train_file",          world.rows("train.csv", 40, 1),
                                         "--max_steps",           "6",
                                         "--logging_steps",       "2",
                                         "--evaluation_strategy", "no"};
  const auto stderr_with = [&](const std::string& output, std::vector<std::string> more) {
    more.insert(more.end(), args.begin(), args.end());
    const Result r = run_graft(world.train_args(world / output, more));
    EXPECT_EQ(r.code, 0) << r.err;
    return r.err;
  };
  const std::string note = "--evaluation_strategy is taken here";
  EXPECT_THAT(stderr_with("a", {}),
              AllOf(HasSubstr(note), HasSubstr("done; the model is in"), HasSubstr("grad_norm")));
  const std::string error = stderr_with("b", {"--log_level", "error"});
  EXPECT_THAT(error, AllOf(Not(HasSubstr("done; the model is in")), HasSubstr("grad_norm")));
  EXPECT_THAT(stderr_with("c", {"--disable_tqdm", "true"}), Not(HasSubstr("ETA")));
}

TEST(Config, PredictionsOfTheTestFileAreWritten) {
  const World world;
  const std::string rows = world.rows("train.csv", 60, 1), test = world.rows("test.csv", 12, 2);
  graft_output(world.train_args(world / "out", {"--train_file", rows, "--test_file", test, "--max_steps", "4",
                                                "--do_predict", "true", "--label_names", "label"}));
  const std::string predictions = read_file(world / "out/predict_results.jsonl");
  EXPECT_EQ(json_lines(predictions).size(), 12u);
  EXPECT_EQ(predictions, graft_output({"predict", "--model", world / "out", "--input", test}));
  const Result without = run_graft(world.train_args(world / "no", {"--train_file", rows, "--do_predict"}));
  EXPECT_EQ(without.code, 2);
  EXPECT_THAT(without.err, HasSubstr("--do_predict true needs --test_file"));
}

TEST(Config, LabelNamesAreTheColumnOfTheLabels) {
  const World world;
  std::string text = read_file(world.rows("train.csv", 40, 1));
  text.replace(text.find("label"), 5, "mood0");
  const std::string file = world.write("mood.csv", text);
  const auto run = [&](const std::string& output, const std::vector<std::string>& more) {
    std::vector<std::string> all = {"--train_file", file, "--max_steps", "2"};
    all.insert(all.end(), more.begin(), more.end());
    return run_graft(world.train_args(world / output, all));
  };
  EXPECT_EQ(run("a", {"--label_names", "mood0"}).code, 0);
  const Result several = run("b", {"--label_names", "mood0,other"});
  EXPECT_EQ(several.code, 2);
  EXPECT_THAT(several.err, HasSubstr("--label_names mood0,other is refused: the labels are one column"));
  EXPECT_THAT(run("c", {"--label_names", "mood0", "--label_column", "x"}).err,
              HasSubstr("--label_column is x"));
}

TEST(Config, SeveralEvaluationSetsHaveNames) {
  const World world;
  const std::string rows = world.rows("train.csv", 40, 1), one = world.rows("one.csv", 10, 2),
                    two = world.rows("two.csv", 20, 3);
  const std::string sets = "one=" + one + ",two=" + two;
  graft_output(
      world.train_args(world / "out", {"--train_file", rows, "--validation_file", sets, "--max_steps", "2"}));
  const Json all = read_json(world / "out/all_results.json");
  EXPECT_EQ(all.at("eval_one_samples"), 10);
  EXPECT_EQ(all.at("eval_two_samples"), 20);
  EXPECT_FALSE(all.contains("eval_loss"));
  const std::string text = world.lines("t.txt", 20, 1), other = world.lines("u.txt", 20, 2);
  graft_output(
      world.train_args(world / "lm", {"--task", "masked-lm", "--train_file", text, "--validation_file",
                                      "u=" + other, "--max_steps", "2", "--line_by_line"}));
  EXPECT_TRUE(read_json(world / "lm/all_results.json").contains("eval_u_perplexity"));
}

// Complaint 6: a file that means the other label by each name.
TEST(Config, LabelsInAnotherOrderAreSaid) {
  World world;
  const std::string model = world.model();
  std::string swapped;
  for (const char c : read_file(world.rows("dev.csv", 60, 7))) swapped += c;
  for (size_t at = 0; (at = swapped.find(",neg", at)) != std::string::npos;) swapped.replace(at, 4, ",#");
  for (size_t at = 0; (at = swapped.find(",pos", at)) != std::string::npos;) swapped.replace(at, 4, ",neg");
  for (size_t at = 0; (at = swapped.find(",#", at)) != std::string::npos;) swapped.replace(at, 2, ",pos");
  const Result r =
      run_graft({"evaluate", "--model", model, "--test_file", world.write("swapped.csv", swapped)});
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_THAT(r.err,
              AllOf(HasSubstr("with the labels in another order: \"pos\" for \"neg\", \"neg\" for \"pos\""),
                    HasSubstr("id2label")));
  const Result well = run_graft({"evaluate", "--model", model, "--test_file", world / "dev.csv"});
  EXPECT_THAT(well.err, Not(HasSubstr("another order")));
}

}  // namespace
}  // namespace graft::test
