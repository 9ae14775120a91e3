// graft xling: the matrix over languages, and that no label of a target decides anything. The "languages" are
// texts of one small vocabulary.
#include <csignal>

#include "base/file.h"
#include "cli/graft_program.h"

namespace graft::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
namespace fs = std::filesystem;

// Options of a short run, from random weights unless `model` is given, over which `more` goes.
std::vector<std::string> xling_args(const World& world, const std::string& output,
                                    const std::vector<std::string>& more, const std::string& model = "") {
  std::vector<std::string> args = {
      "xling",           "--output_dir", world / output,       "--seeds", "1,2", "--max_steps", "40",
      "--learning_rate", "5e-3",         "--logging_strategy", "no"};
  const std::vector<std::string> start = {"--config_name", world / "start/config.json", "--tokenizer_name",
                                          world / "start"},
                                 trained = {"--model", model};
  const std::vector<std::string>& from = model.empty() ? start : trained;
  args.insert(args.end(), from.begin(), from.end());
  args.insert(args.end(), more.begin(), more.end());
  return args;
}

// Files of three languages.
struct Files {
  explicit Files(World& world)
      : train(world.rows("en.train.csv", 80, 11)),
        en(world.rows("en.test.csv", 30, 12)),
        de(world.rows("de.test.csv", 30, 13)),
        fr(world.rows("fr.test.csv", 24, 14)) {}
  std::string train, en, de, fr;
  std::vector<std::string> zero_shot(const std::vector<std::string>& more = {}) const {
    std::vector<std::string> args = {"--train_file", train, "--test_files",
                                     "en=" + en + ",de=" + de + ",fr=" + fr};
    args.insert(args.end(), more.begin(), more.end());
    return args;
  }
};

Json run(const World& world, const std::string& output, std::vector<std::string> more) {
  more.emplace_back("--json");
  const Result r = run_graft(xling_args(world, output, more));
  EXPECT_EQ(r.code, 0) << r.err;
  return r.code == 0 ? json_lines(r.out).front() : Json();
}

double mean(const Json& scores) {
  double sum = 0;
  for (const Json& s : scores) sum += s.get<double>();
  return sum / static_cast<double>(scores.size());
}

int folders_of(const std::string& output, const std::string& name) {
  int n = 0;
  for (const auto& entry : fs::directory_iterator(output + "/stages"))
    n += entry.path().filename().string().starts_with(name + "-") ? 1 : 0;
  return n;
}

TEST(Xling, TheHelpHasTheFilesThatItReads) {
  const std::string help = graft_output({"xling", "--help"});
  EXPECT_THAT(help, AllOf(HasSubstr("--test_files VALUE..."), Not(HasSubstr("--test_file VALUE")),
                          HasSubstr("development data of --source_language")));
  EXPECT_THAT(run_graft({"xling", "--test_file", "x.csv", "--test_files", "de=y.csv"}).err,
              HasSubstr("--test_file is refused: each language has a test file of its own"));
}

TEST(Xling, TheMatrixOfAZeroShotRun) {
  World world;
  const Files files(world);
  const Json json = run(world, "out", files.zero_shot());
  EXPECT_EQ(json["metric"], "accuracy");
  EXPECT_EQ(json["gap_against"], "test");
  ASSERT_EQ(json["targets"].size(), 2u);
  const Json &de = json["targets"][0], &fr = json["targets"][1];
  EXPECT_EQ(de["language"], "de");
  EXPECT_EQ(de["scores"].size(), 2u);
  EXPECT_EQ(de["not_averaged"].size(), 2u);
  EXPECT_EQ(de["text"]["rows"], 30);
  EXPECT_NEAR(de["gap"].get<double>(), mean(json["source"]["scores"]) - mean(de["scores"]), 1e-9);
  EXPECT_NEAR(json["average"]["mean"].get<double>(), (mean(de["scores"]) + mean(fr["scores"])) / 2, 1e-9);
  EXPECT_EQ(json["worst"], mean(de["scores"]) <= mean(fr["scores"]) ? "de" : "fr");
  EXPECT_EQ(json["held_out_rows"], 8);
  EXPECT_EQ(json["training"][0]["rows"], 72);
  EXPECT_EQ(json["averaged_places"], 10);

  // The output folder is the model of the first seed, and its score that of the matrix.
  const Json alone =
      json_lines(graft_output({"evaluate", "--model", world / "out", "--test_file", files.de, "--json"}))
          .front();
  EXPECT_EQ(alone["eval_accuracy"], de["scores"][0]);
  EXPECT_EQ(read_json(world / "out/xling_results.json")["targets"], json["targets"]);
  EXPECT_THAT(read_file(world / "out/xling_results.md"),
              AllOf(HasSubstr("| language "), HasSubstr("| gap to en |"), HasSubstr("| average of 2 "),
                    HasSubstr("| worst: "), HasSubstr("no row of a target chose anything")));

  // The stage that is not averaged is the run's end: `graft train` without the average has its score.
  const Result plain =
      run_graft(xling_args(world, "plain", files.zero_shot({"--average_checkpoints", "0", "--json"})));
  ASSERT_EQ(plain.code, 0) << plain.err;
  const Json without = json_lines(plain.out).front();
  EXPECT_EQ(without["targets"][0]["scores"], de["not_averaged"]);
  EXPECT_FALSE(without["targets"][0].contains("not_averaged"));
}

TEST(Xling, PeekingAtATargetFails) {
  World world;
  const Files files(world);
  const auto refused = [&](const std::vector<std::string>& more) {
    const Result r = run_graft(xling_args(world, "out", files.zero_shot(more)));
    EXPECT_EQ(r.code, 2) << r.err;
    EXPECT_FALSE(fs::exists(world / "out/config.json"));
    return r.err;
  };
  const std::string dev = world.rows("dev.csv", 20, 15);
  EXPECT_THAT(refused({"--validation_file", "de=" + dev}),
              AllOf(HasSubstr("German is a target language"),
                    HasSubstr("hint: give development data of the source")));
  EXPECT_THAT(refused({"--validation_file", "en=" + dev + ",de=" + files.de}),
              HasSubstr("German is a target language"));
  EXPECT_THAT(refused({"--validation_file", files.de}), HasSubstr("holds the bytes of the test file de="));
  const std::string copy = world.write("innocent.csv", read_file(files.de));
  EXPECT_THAT(refused({"--validation_file", copy}), HasSubstr("has seen its labels"));
  EXPECT_THAT(refused({"--validation_file", world.rows("same.tsv", 30, 13)}),
              HasSubstr("30 of its 30 rows are in the test file de="));
  EXPECT_THAT(refused({"--validation_file", files.en}), HasSubstr("holds the bytes of the test file en="));
  // A part of the development rows, or rows that are drawn for few-shot training.
  const std::string part = world.write("part.csv", read_file(dev) + "held text of the target,pos\n");
  const auto with_dev = [&](const std::string& file, const std::string& tests,
                            const std::vector<std::string>& more) {
    std::vector<std::string> args = {"--train_file", files.train,    "--validation_file",
                                     file,           "--test_files", tests};
    args.insert(args.end(), more.begin(), more.end());
    return run_graft(xling_args(world, "peek", args));
  };
  const std::string target = world.write("target.csv", read_file(files.de) + "held text of the target,pos\n");
  const Result said = with_dev(part, "de=" + target, {"--seeds", "1"});
  EXPECT_EQ(said.code, 0) << said.err;
  EXPECT_THAT(said.out, AllOf(HasSubstr("1 of its 21 rows are in the test file de="),
                              Not(HasSubstr("chose anything"))));
  EXPECT_THAT(with_dev(dev, "de=" + files.de, {"--few_shot", "1", "--few_shot_files", "de=" + dev}).err,
              HasSubstr("20 of its 20 rows are in the few-shot file de="));
  // The source's own development data is what selection may read.
  const Json json = run(world, "named", files.zero_shot({"--validation_file", "en=" + dev}));
  EXPECT_EQ(json["held_out_rows"], 0);
  const Json unnamed = run(world, "unnamed", files.zero_shot({"--validation_file", dev}));
  EXPECT_EQ(unnamed["targets"], json["targets"]);
}

TEST(Xling, TheMatrixDependsNeitherOnThreadsNorOnTheOtherLanguages) {
  World world;
  const Files files(world);
  const auto target = [&](const std::string& out, const std::string& tests, const char* threads) {
    return run(world, out, {"--train_file", files.train, "--test_files", tests, "--num_threads", threads});
  };
  const Json one = target("one", "de=" + files.de + ",fr=" + files.fr, "1"),
             two = target("two", "de=" + files.de + ",fr=" + files.fr, "2"),
             alone = target("alone", "fr=" + files.fr, "2");
  EXPECT_EQ(one["targets"], two["targets"]);
  EXPECT_EQ(one["development"], two["development"]);
  EXPECT_EQ(one["gap_against"], "development");
  EXPECT_EQ(alone["targets"][0], one["targets"][1]);
  EXPECT_FALSE(one["targets"][0]["metrics"][0]["loss"].is_null());
  EXPECT_EQ(read_file(world / "one/model.safetensors"), read_file(world / "two/model.safetensors"));
}

TEST(Xling, ALaterLanguageTrainsNothing) {
  World world;
  const Files files(world);
  const Json first = run(world, "out", {"--train_file", files.train, "--test_files", "de=" + files.de});
  const Result r = run_graft(xling_args(
      world, "out",
      {"--train_file", files.train, "--test_files", "fr=" + files.fr + ",de=" + files.de, "--json"}));
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_THAT(r.err, AllOf(HasSubstr("seed 1: the trained model is taken from the cache"),
                           HasSubstr("seed 2: the trained model is taken from the cache"),
                           Not(HasSubstr("training on en"))));
  EXPECT_EQ(json_lines(r.out).front()["targets"][1], first["targets"][0]);
  EXPECT_EQ(folders_of(world / "out", "train"), 2);
  EXPECT_EQ(folders_of(world / "out", "score-fr"), 2);
}

TEST(Xling, AnInterruptedRunGoesOnAtItsSeed) {
  World world;
  const Files files(world);
  std::vector<std::string> args = xling_args(world, "out", files.zero_shot({"--max_steps", "200"}));
  RunningGraft running(args);
  for (std::string line = running.read_error_line();
       !line.starts_with("seed 2: training on en") && running.running(); line = running.read_error_line()) {
  }
  running.read_error_line();  // the model is loaded: the signal finds a training
  running.send(SIGINT);
  EXPECT_EQ(running.wait(), 130);
  EXPECT_FALSE(fs::exists(world / "out/xling_results.json"));
  args.emplace_back("--json");
  const Result r = run_graft(args);
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_THAT(r.err, HasSubstr("seed 1: the trained model is taken from the cache"));
  const Json whole = run(world, "whole", files.zero_shot({"--max_steps", "200"}));
  EXPECT_EQ(json_lines(r.out).front()["targets"], whole["targets"]);
}

TEST(Xling, FewShotCurvesOverSampledSets) {
  World world;
  const Files files(world);
  // Its first 30 rows are those of the test file.
  const std::string shots =
      world.write("de.train.csv", read_file(files.de) +
                                      read_file(world.rows("more.csv", 60, 16)).substr(sizeof "text,label"));
  const Result r = run_graft(
      xling_args(world, "out",
                 files.zero_shot({"--few_shot", "1,4", "--few_shot_files", "de=" + shots, "--few_shot_sets",
                                  "3", "--few_shot_arguments", "num_train_epochs=2", "--json"})));
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_THAT(r.err, AllOf(HasSubstr("rows are in the test file too and are left out"),
                           HasSubstr("seed 2: de: 4 rows of each label, set 3 of 3: accuracy ")));
  const Json json = json_lines(r.out).front();
  const Json& de = json["few_shot"]["languages"][0];
  EXPECT_GE(de["left_out_rows"].get<int>(), 30);
  EXPECT_TRUE(json["few_shot"]["of_each_label"].get<bool>());
  for (const char* k : {"1", "4"}) {
    EXPECT_EQ(de["curve"][k]["scores"].size(), 6u) << k;
    EXPECT_NEAR(de["curve"][k]["mean"].get<double>(), mean(de["curve"][k]["scores"]), 1e-9);
  }
  EXPECT_THAT(
      read_file(world / "out/xling_results.md"),
      AllOf(HasSubstr("| rows of each label |"), HasSubstr(" ± "), HasSubstr("2 seeds x 3 sampled sets")));
  // What the source model scores is that of a zero-shot run.
  EXPECT_EQ(run(world, "zero", files.zero_shot())["targets"], json["targets"]);
  EXPECT_EQ(folders_of(world / "out", "few-shot-de"), 2);
}

TEST(Xling, SeveralTrainingLanguagesAreMixedAndCapped) {
  World world;
  const Files files(world);
  const std::string de = world.rows("de.train.csv", 20, 17), tests = "en=" + files.en + ",de=" + files.de;
  const std::vector<std::string> joint = {"--train_files", "en=" + files.train + ",de=" + de, "--test_files",
                                          tests};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.begin(), joint.begin(), joint.end());
    return more;
  };
  const Json json = run(world, "natural", with({}));
  EXPECT_EQ(json["training"][0]["rows_of_an_epoch"], 72);
  EXPECT_EQ(json["training"][1]["rows_of_an_epoch"], 20);
  EXPECT_TRUE(json["targets"][0]["trained_on"].get<bool>());
  EXPECT_THAT(read_file(world / "natural/xling_results.md"), HasSubstr("| de (trained on) "));
  const Json mixed =
      run(world, "mixed", with({"--sampling_temperature", "100", "--max_rows_per_language", "40"}));
  EXPECT_EQ(mixed["training"][0]["rows_of_an_epoch"], 30);
  EXPECT_EQ(mixed["training"][1]["rows_of_an_epoch"], 30);
  EXPECT_EQ(run(world, "again",
                with({"--sampling_temperature", "100", "--max_rows_per_language", "40"}))["targets"],
            mixed["targets"]);
}

TEST(Xling, EveryTaskHasAMatrix) {
  World world;
  const auto tagged = [&](const std::string& name, int n, const std::string& word) {
    std::string text;
    for (int i = 0; i < n; ++i)
      text += (i % 3 ? "the O\n" : "of O\n") + word + " B-X\nfilm I-X\nwas O\n" +
              (i % 2 ? "bad B-Y\n\n" : "in O\n\n");
    return world.write(name, text);
  };
  const auto questions = [&](const std::string& name, int n, const std::string& word) {
    std::string text;
    for (int i = 0; i < n; ++i)
      text += Json({{"id", std::to_string(i)},
                    {"question", (i % 2 ? "the " : "a ") + word},
                    {"context", "the film was " + word},
                    {"answers", {{"text", Json::array({word})}, {"answer_start", Json::array({13})}}}})
                  .dump() +
              "\n";
    return world.write(name, text);
  };
  const auto choices = [&](const std::string& name, int n, const std::string& word) {
    std::string text;
    for (int i = 0; i < n; ++i)
      text += Json({{"context", word + (i % 2 ? " the" : " a")},
                    {"choices", {word + " film", "soup"}},
                    {"label", 0}})
                  .dump() +
              "\n";
    return world.write(name, text);
  };
  const auto anchors = [&](const std::string& name, int n, const std::string& word) {
    static const char* others[] = {"film", "book", "soup", "song", "it"};
    std::string text = "anchor,positive\n";
    for (int i = 0; i < n; ++i) {
      const std::string other = std::string(others[i % 5]) + (i % 2 ? " was " : " is ") + others[(i / 5) % 5];
      text += word + " " + other + "," + other + " very\n";
    }
    return world.write(name, text);
  };
  const auto matrix = [&](const std::string& task, const auto& make, const char* extension) {
    const Json json =
        run(world, task,
            {"--task", task, "--seeds", "1", "--train_file", make(task + ".en" + extension, 20, "good"),
             "--test_files", "de=" + make(task + ".de" + extension, 8, "bad"), "--max_seq_length", "24",
             "--per_device_train_batch_size", "4"});
    EXPECT_FALSE(json["targets"][0]["scores"][0].is_null()) << task;
    return json;
  };
  const Json ner = matrix("token-classification", tagged, ".conll");
  EXPECT_EQ(ner["metric"], "f1");
  EXPECT_EQ(ner["targets"][0]["text"]["rows_in_windows"], 0);
  EXPECT_EQ(matrix("question-answering", questions, ".jsonl")["metric"], "f1");
  EXPECT_EQ(matrix("multiple-choice", choices, ".jsonl")["metric"], "accuracy");
  matrix("sentence-embedding", anchors, ".csv");
  const Json pairs = run(world, "pairs",
                         {"--train_file", world.pairs("pairs.en.csv", 40, 1), "--test_files",
                          "de=" + world.pairs("pairs.de.csv", 10, 2)});
  EXPECT_EQ(pairs["targets"][0]["text"]["rows"], 10);
}

TEST(Xling, FewShotOfWordsDrawsRows) {
  World world;
  const auto tagged = [&](const std::string& name, int n, const std::string& word) {
    std::string text;
    for (int i = 0; i < n; ++i)
      text += "the O\n" + word + " B-X\n" + (i % 2 ? "film O\n" : "") + std::string(i % 5, '.') +
              (i % 5 ? " O\n\n" : "\n");
    return world.write(name, text);
  };
  const Json json =
      run(world, "out",
          {"--task", "ner", "--seeds", "1", "--train_file", tagged("en.conll", 20, "good"), "--test_files",
           "de=" + tagged("de.conll", 10, "bad"), "--few_shot", "2", "--few_shot_sets", "2",
           "--few_shot_files", "de=" + tagged("de.train.conll", 10, "ungood")});
  EXPECT_FALSE(json["few_shot"]["of_each_label"].get<bool>());
  EXPECT_EQ(json["few_shot"]["languages"][0]["curve"]["2"]["scores"].size(), 2u);
}

TEST(Xling, ALanguageThatTheTokenizerLacksIsNamed) {
  World world;
  const Files files(world);
  const std::string ru = world.write(
      "ru.csv",
      "text,label\n\xD1\x84\xD0\xB8\xD0\xBB\xD1\x8C\xD0\xBC,pos\n\xD1\x84\xD0\xB8\xD0\xBB\xD1\x8C\xD0\xBC "
      "\xD0\xB1\xD1\x8B\xD0\xBB,neg\ngood film,pos\n");
  const Result r = run_graft(
      xling_args(world, "out", {"--train_file", files.train, "--test_files", "ru=" + ru, "--seeds", "1"},
                 world.model()));
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_THAT(
      r.err,
      AllOf(HasSubstr("1 of 3 rows are mostly in Latin script, the others in Cyrillic (first: line 4)"),
            HasSubstr("of the pieces are unknown to the tokenizer: the model does not read Russian")));
  EXPECT_THAT(r.out, AllOf(HasSubstr("- warning: ru: 60.0 % of the pieces are unknown to the tokenizer"),
                           HasSubstr("time: training ")));
}

TEST(Xling, BadInputIsNamedWithWhatToDo) {
  World world;
  const Files files(world);
  const auto wrong = [&](const std::vector<std::string>& more, int code) {
    const Result r = run_graft(xling_args(world, "out", more));
    EXPECT_EQ(r.code, code) << r.err;
    EXPECT_THAT(r.err, HasSubstr("\nhint: ")) << r.err;
    EXPECT_FALSE(fs::exists(world / "out/config.json"));
    return "\n" + r.err;
  };
  const auto of = [&](const std::string& tests, int code, const std::vector<std::string>& extra = {}) {
    std::vector<std::string> more = {"--train_file", files.train, "--test_files", tests};
    more.insert(more.end(), extra.begin(), extra.end());
    return wrong(more, code);
  };
  EXPECT_THAT(of("jp=" + files.de, 2), HasSubstr("did you mean ja (Japanese)?"));
  EXPECT_THAT(of(files.de, 2), HasSubstr("the item names no language"));
  EXPECT_THAT(of("de=" + files.de + ",fr=" + files.de, 2), HasSubstr("hold the same bytes"));
  EXPECT_THAT(of("de=" + files.de + ",fr=" + world.rows("de.again.tsv", 30, 13), 2),
              HasSubstr("hold the same rows"));
  EXPECT_THAT(of("de=" + files.de + ",deu=" + files.fr, 2), HasSubstr("the language de is given twice"));
  EXPECT_THAT(of("de=" + files.train, 2), HasSubstr("a score on rows of the training"));
  EXPECT_THAT(of("en=" + files.en, 2), HasSubstr("no language but the source, en"));
  EXPECT_THAT(of("de=" + world.write("empty.csv", ""), 1), HasSubstr("the file is empty"));
  EXPECT_THAT(of("de=" + world.write("head.csv", "text,label\n"), 1), HasSubstr("head.csv"));
  EXPECT_THAT(of("de=" + world.write("odd.csv", "text,label\ngood film,pos\nbad film,negg\n"), 1),
              AllOf(HasSubstr("odd.csv: line 3: 1 of its labels"), HasSubstr("did you mean \"neg\"?")));
  EXPECT_THAT(of("de=" + files.de, 2, {"--source_language", "englisch"}),
              HasSubstr("did you mean en (English)?"));
  EXPECT_THAT(of("de=" + files.de, 2, {"--few_shot", "5,1", "--few_shot_files", "de=" + files.fr}),
              HasSubstr("the numbers of rows ascend"));
  EXPECT_THAT(of("de=" + files.de, 2, {"--few_shot", "1"}), HasSubstr("--few_shot needs --few_shot_files"));
  EXPECT_THAT(of("de=" + files.de, 2, {"--few_shot", "1", "--few_shot_files", "de=" + files.de}),
              HasSubstr("no row is left to train on that is not scored"));
  EXPECT_THAT(of("de=" + files.de, 2, {"--few_shot", "1", "--few_shot_files", "fr=" + files.fr}),
              HasSubstr("--test_files has no file of fr"));
  EXPECT_THAT(of("de=" + files.de, 1, {"--few_shot", "1000", "--few_shot_files", "de=" + files.fr}),
              HasSubstr("rows are left to draw from"));
  EXPECT_THAT(of("de=" + files.de, 2, {"--test_file", files.en}), HasSubstr("--test_file is refused"));
  const std::vector<std::string> few = {"--few_shot", "1", "--few_shot_files", "de=" + files.fr,
                                        "--few_shot_arguments"};
  for (const char* argument : {"eval_strategy=epoch", "seed=3"}) {
    std::vector<std::string> more = few;
    more.emplace_back(argument);
    EXPECT_THAT(of("de=" + files.de, 2, more), HasSubstr(" is refused: ")) << argument;
  }
  EXPECT_THAT(of("de=" + files.de, 2, {"--few_shot_sets", "3"}), HasSubstr("there is no --few_shot"));
  EXPECT_THAT(of("de=" + files.de, 2, {"--tokenized_path", world / "rows"}),
              HasSubstr("tokenised in memory"));
  EXPECT_THAT(of("de=" + files.de, 2, {"--do_train", "false"}), HasSubstr("the command trains"));
  EXPECT_THAT(of("de=" + files.de, 1, {"--max_rows_per_language", "1"}),
              HasSubstr("--max_rows_per_language 1: of the rows"));
  EXPECT_THAT(of("de=" + files.de, 2, {"--seed", "3"}), HasSubstr("--seeds 1,2,3"));
  EXPECT_THAT(of("de=" + files.de, 2, {"--seeds", "3,3"}), HasSubstr("--seeds has 3 twice"));
  EXPECT_THAT(of("de=" + files.de, 2, {"--train_files", "en=" + files.en}),
              HasSubstr("--train_file is refused"));
  EXPECT_THAT(of("de=" + files.de, 2, {"--sampling_temperature", "2"}), HasSubstr("it mixes the languages"));
  EXPECT_THAT(of("de=" + files.de, 2, {"--task", "masked-lm"}), HasSubstr("masked-lm"));
  EXPECT_THAT(wrong({"--train_file", files.train}, 2), HasSubstr("--test_files is needed"));
  EXPECT_THAT(wrong({"--train_files", "fr=" + files.train, "--test_files", "de=" + files.de}, 2),
              HasSubstr("no file of the source language en"));
  // Labels that only one language lacks are named, and no error.
  const Result r =
      run_graft(xling_args(world, "out",
                           {"--train_file", files.train, "--seeds", "1", "--test_files",
                            "de=" + world.write("pos.csv", "text,label\ngood film,pos\ngood soup,pos\n")}));
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_THAT(r.err, HasSubstr("no row has the label \"neg\": the score says nothing about it"));
  EXPECT_THAT(r.out, HasSubstr("de: 1 of the training labels occur in no test row: neg"));
}

}  // namespace
}  // namespace graft::test
