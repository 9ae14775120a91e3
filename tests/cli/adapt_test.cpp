// graft adapt: continued pretraining, its cached stages, and the table of what it gains.
#include <algorithm>
#include <csignal>

#include "base/file.h"
#include "cli/adapt_run.h"

namespace graft::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
namespace fs = std::filesystem;

TEST(Adapt, ANewHeadIsTrainedAloneAndThePerplexityFalls) {
  World world;
  const std::string corpus = world.lines("corpus.txt", 300, 1);
  const Result r = run_graft(adapt_args(world, world.model(), "out", {"--corpus", corpus, "--json"}));
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_THAT(r.err,
              AllOf(HasSubstr("objective: masked-lm; blocks of 24 tokens, 32 a step, learning rate 0.003"),
                    HasSubstr("a new one, tied to its embeddings, is trained alone for 10 steps"),
                    HasSubstr("corpus: 300 lines in 1 file -> ")));
  const Json row = row_of(json_lines(r.out).front()["stages"], "stage", "dapt");
  EXPECT_TRUE(row["new_head"].get<bool>());
  EXPECT_LT(row["after"]["held_out"].get<double>(), row["before"]["held_out"].get<double>());
  EXPECT_EQ(read_json(world / "out/config.json")["architectures"], Json::array({"BertForMaskedLM"}));
  EXPECT_TRUE(fs::exists(world / "out/adapt_results.json"));
  // The body stood still while the head was trained.
  const Json head = read_json(stage_of(world / "out", "dapt-head") / "training_args.json");
  EXPECT_EQ(head["freeze"], "bert.*");

  // What it wrote is fine-tuned, and the pooler of the checkpoint is still there.
  const Result tuned =
      run_graft({"train", "--model", world / "out", "--train_file", world.rows("rows.csv", 32, 1),
                 "--output_dir", world / "tuned", "--max_steps", "2"});
  EXPECT_EQ(tuned.code, 0) << tuned.err;
  EXPECT_THAT(tuned.err, AllOf(HasSubstr("classifier.weight"), Not(HasSubstr("pooler"))));

  const Result again =
      run_graft(adapt_args(world, world / "out", "again", {"--corpus", corpus, "--max_steps", "1"}));
  EXPECT_EQ(again.code, 0) << again.err;
  EXPECT_THAT(again.err, HasSubstr("--head_steps has no effect: no head is new for masked-lm"));
}

TEST(Adapt, AStageIsReusedOnlyIfEveryInputByteIsTheSame) {
  World world;
  const std::string corpus = world.lines("corpus.txt", 200, 1), model = world.model_copy("copy");
  const std::vector<std::string> args =
      adapt_args(world, model, "out", {"--corpus", corpus, "--max_steps", "3"});
  const auto cached = [&](const std::vector<std::string>& command, const std::string& stage = "dapt") {
    const Result r = run_graft(command);
    EXPECT_EQ(r.code, 0) << r.err;
    return r.err.find("\n" + stage + ": taken from the cache") != std::string::npos;
  };
  EXPECT_FALSE(cached(args));
  EXPECT_TRUE(cached(args));
  std::vector<std::string> quiet = args;
  quiet.insert(quiet.end(), {"--logging_steps", "1"});
  EXPECT_TRUE(cached(quiet));  // nothing that decides the result
  std::vector<std::string> other = args;
  other.insert(other.end(), {"--weight_decay", "0.02"});
  EXPECT_FALSE(cached(other));
  std::string text = read_file(corpus);
  text[0] = text[0] == 'g' ? 'b' : 'g';
  write_file(corpus, text);
  EXPECT_FALSE(cached(args));
  EXPECT_TRUE(cached(args));
  const std::string config = read_file(model + "/config.json");
  write_file(model + "/config.json", config + " ");
  EXPECT_FALSE(cached(args, "dapt-head"));  // whose result is the same, so that dapt itself is reused
  EXPECT_TRUE(cached(args, "dapt-head"));
}

TEST(Adapt, ADamagedStageIsRedoneAndSaid) {
  World world;
  const std::vector<std::string> args = adapt_args(
      world, world.model(), "out", {"--corpus", world.lines("corpus.txt", 200, 1), "--max_steps", "3"});
  graft_output(args);
  const std::string whole = read_file(world / "out/model.safetensors");
  const fs::path weights = stage_of(world / "out", "dapt") / "model.safetensors";
  std::string bytes = read_file(weights);
  bytes[bytes.size() / 2] ^= 1;
  write_file(weights, bytes);
  const Result r = run_graft(args);
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_THAT(r.err, AllOf(HasSubstr("the cached stage is damaged and is computed again"),
                           HasSubstr("model.safetensors: has the sha256")));
  EXPECT_EQ(read_file(world / "out/model.safetensors"), whole);
}

TEST(Adapt, AnInterruptedStageGoesOnWithTheSameBits) {
  World world;
  const std::vector<std::string> more = {"--corpus",        world.lines("corpus.txt", 300, 1),
                                         "--max_steps",     "300",
                                         "--save_steps",    "1000",
                                         "--logging_steps", "5"};
  const std::string model = world.model();
  graft_output(adapt_args(world, model, "whole", more));
  RunningGraft graft(adapt_args(world, model, "out", more));
  // Behind the stage of the head, in the body's.
  for (const char* part : {"stage dapt;", "learning_rate"})
    for (std::string line; !(line = graft.read_error_line()).empty();)
      if (line.find(part) != std::string::npos) break;
  graft.send(SIGTERM);
  for (std::string line; !(line = graft.read_error_line()).empty();) {
  }
  EXPECT_EQ(graft.wait(), 128 + SIGTERM);
  EXPECT_FALSE(fs::exists(world / "out/config.json"));
  const std::vector<std::string> files = files_in(stage_of(world / "out", "dapt").string());
  EXPECT_TRUE(std::any_of(files.begin(), files.end(),
                          [](const std::string& f) { return f.starts_with("checkpoint-"); }));
  const Result resumed = run_graft(adapt_args(world, model, "out", more));
  EXPECT_EQ(resumed.code, 0) << resumed.err;
  EXPECT_THAT(resumed.err, AllOf(HasSubstr("dapt-head: taken from the cache"), HasSubstr("checkpoint-")));
  EXPECT_EQ(read_file(world / "out/model.safetensors"), read_file(world / "whole/model.safetensors"));
}

TEST(Adapt, StagesEndWithTheTable) {
  World world;
  const Result r = run_graft(
      adapt_args(world, world.model(), "out", {"--stages",         "dapt,tapt,task",
                                               "--corpus",         world.lines("corpus.txt", 200, 1),
                                               "--control",        world.lines("control.txt", 300, 9),
                                               "--replay",         world.lines("general.txt", 100, 5),
                                               "--train_file",     world.rows("train.csv", 64, 1),
                                               "--test_file",      world.rows("test.csv", 40, 2),
                                               "--seeds",          "1,2",
                                               "--task_arguments", "learning_rate=5e-3,num_train_epochs=2",
                                               "--tapt_arguments", "num_train_epochs=2",
                                               "--max_steps",      "5"}));
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_THAT(r.out, AllOf(HasSubstr("general before"), HasSubstr("paired t-test over seeds against base")));
  const Json results = read_json(world / "out/adapt_results.json");
  EXPECT_EQ(results["metric"], "test_accuracy");
  for (const char* arm : {"base", "dapt", "tapt", "control", "dapt-tapt"}) {
    const Json& row = row_of(results["arms"], "arm", arm);
    EXPECT_EQ(row["scores"].size(), 2u) << arm;
    EXPECT_EQ(row.contains("p"), std::string(arm) != "base");
  }
  EXPECT_TRUE(row_of(results["stages"], "stage", "dapt")["after"].contains("general"));
  EXPECT_EQ(read_json(world / "out/config.json")["architectures"],
            Json::array({"BertForSequenceClassification"}));
  EXPECT_EQ(json_lines(graft_output({"predict", "--model", world / "out"}, "a good film\n")).size(), 1u);
  // The scores of the arms are kept, their models are not.
  EXPECT_FALSE(fs::exists(stage_of(world / "out", "task-control") / "model.safetensors"));
}

TEST(Adapt, ACorpusWithTheTestSetIsSaid) {
  World world;
  const std::string rows =
      world.write("test.csv", "text,label\nthis exact sentence is in the corpus too,pos\n");
  const std::string corpus = world.write(
      "corpus.txt", read_file(world.lines("l.txt", 100, 1)) + "this exact sentence is in the corpus too\n");
  const std::vector<std::string> args = adapt_args(
      world, world.model(), "out", {"--corpus", corpus, "--exclude_file", rows, "--max_steps", "2"});
  const Result r = run_graft(args);
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_THAT(r.err, AllOf(HasSubstr("1 of 1 texts of the test set occur in 1 of its lines"),
                           HasSubstr("corpus.txt: line 101 has " + rows + ": line 2"),
                           HasSubstr("--remove_overlap true")));
  std::vector<std::string> removing = args;
  removing.push_back("--remove_overlap");
  EXPECT_THAT(run_graft(removing).err, HasSubstr("these lines were removed"));
}

TEST(Adapt, ThePlanMeasuresAndTrainsNothingElse) {
  World world;
  const Result r =
      run_graft(adapt_args(world, world.model(), "out",
                           {"--corpus", world.lines("corpus.txt", 300, 1), "--general",
                            world.lines("general.txt", 100, 5), "--plan", "--pilot_steps", "8"}));
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_THAT(r.out, AllOf(HasSubstr("tokens per word"), HasSubstr("frequent words of general text"),
                           HasSubstr("after 8 steps"), HasSubstr("recommendation: ")));
  EXPECT_FALSE(fs::exists(world / "out/config.json"));
}

TEST(Adapt, NewPiecesAreTheMeanOfTheirParts) {
  World world;
  std::string text;
  for (int i = 0; i < 120; ++i)
    text += "ungood film " + std::to_string(i % 7) + (i % 2 ? " goodgood bad" : " film ungood") + " good\n";
  const Result r = run_graft(adapt_args(world, world.model(), "out",
                                        {"--corpus", world.write("corpus.txt", text), "--remove_duplicates",
                                         "false", "--extend_vocabulary", "2", "--max_steps", "2", "--json"}));
  ASSERT_EQ(r.code, 0) << r.err;
  const Json vocabulary = json_lines(r.out).front()["vocabulary"];
  EXPECT_GE(vocabulary["added"].get<int>(), 1);
  EXPECT_LT(vocabulary["tokens_per_word_after"].get<double>(),
            vocabulary["tokens_per_word_before"].get<double>());
  const Json before = read_json(world.model() + "/config.json"), after = read_json(world / "out/config.json");
  EXPECT_EQ(after["vocab_size"].get<int>(), before["vocab_size"].get<int>() + vocabulary["added"].get<int>());
  const std::string piece = vocabulary["examples"][0].get<std::string>();
  EXPECT_THAT(graft_output({"tokenize", "--model", world / "out"}, "ungood goodgood\n"), HasSubstr(piece));
}

TEST(Adapt, SimCseKeepsASentenceEncoder) {
  World world;
  const Result r =
      run_graft(adapt_args(world, world.model(), "out",
                           {"--corpus", world.lines("corpus.txt", 200, 1), "--objective", "simcse",
                            "--held_out_percentage", "20", "--max_steps", "4", "--json"}));
  ASSERT_EQ(r.code, 0) << r.err;
  const Json results = json_lines(r.out).front();
  EXPECT_EQ(results["measure"], "mrr@10");
  EXPECT_EQ(read_json(world / "out/config.json")["architectures"], Json::array({"BertModel"}));
  EXPECT_TRUE(fs::exists(world / "out/modules.json"));
  EXPECT_NE(graft_output({"embed", "--model", world / "out"}, "a good film\n"), "");
}

TEST(Adapt, LanguagesAndPairsAreMixedAndScored) {
  World world;
  std::string pairs;
  for (int i = 0; i < 60; ++i)
    pairs += "a good film " + std::to_string(i) + "\tbad film it was " + std::to_string(i) + "\n";
  const std::string en = world.lines("en.txt", 240, 1), de = world.lines("de.txt", 60, 2),
                    parallel = world.write("p.tsv", pairs);
  const std::vector<std::string> args =
      adapt_args(world, world.model(), "out",
                 {"--corpus", "en=" + en + ",de=" + de, "--sampling_temperature", "3", "--parallel", parallel,
                  "--tlm_share", "0.25", "--max_steps", "3", "--json"});
  const Result r = run_graft(args);
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_THAT(r.err, AllOf(HasSubstr("corpus-de: 60 lines"), HasSubstr("parallel: 60 lines"),
                           HasSubstr("dapt: an epoch has (--sampling_temperature 3):\nlanguage "),
                           HasSubstr("share before  share after\nen ")));
  const Json row = row_of(json_lines(r.out).front()["stages"], "stage", "dapt");
  EXPECT_TRUE(row["after"]["languages"].contains("de"));
  EXPECT_LT(row["after"]["tlm"].get<double>(), row["before"]["tlm"].get<double>());
  EXPECT_EQ(row["mixture"].size(), 3u);
  EXPECT_NEAR(row["mixture"][2]["share_after"].get<double>(), 0.25, 0.02);

  const Result again = run_graft({args.begin(), args.end() - 1});
  EXPECT_THAT(again.err, HasSubstr("\ndapt: taken from the cache"));
  EXPECT_THAT(again.out, AllOf(HasSubstr("\n  en "), HasSubstr("\n  de "), HasSubstr("\n  tlm "),
                               HasSubstr("the geometric mean")));
  pairs[0] = 'A';
  world.write("p.tsv", pairs);
  EXPECT_THAT(run_graft(args).err, Not(HasSubstr("\ndapt: taken from the cache")));
}

TEST(Adapt, LanguagesAndPairsThatDoNotFitAreRefused) {
  World world;
  const std::string en = world.lines("en.txt", 50, 1), de = world.lines("de.txt", 50, 2),
                    pairs = world.write("p.tsv", "a\tb\n"), both = "en=" + en + ",de=" + de;
  const auto error = [&](const std::vector<std::string>& more) {
    const Result r = run_graft(adapt_args(world, world.model(), "out", more));
    EXPECT_EQ(r.code, 2) << r.err;
    return r.err;
  };
  EXPECT_THAT(error({"--corpus", en, "--sampling_temperature", "3"}),
              HasSubstr("--sampling_temperature is refused: it mixes languages"));
  EXPECT_THAT(error({"--corpus", "en=" + en, "--sampling_temperature", "3"}),
              HasSubstr("--corpus names one"));
  EXPECT_THAT(error({"--corpus", en, "de=" + de}), HasSubstr("some files have a language"));
  EXPECT_THAT(error({"--corpus", "en=" + en + ",german=" + de}), HasSubstr("did you mean de (German)?"));
  EXPECT_THAT(error({"--corpus", "en=" + en + ",de=" + en}), HasSubstr("hold the same bytes"));
  EXPECT_THAT(error({"--corpus", both, "--replay", en}), HasSubstr("--replay is refused"));
  EXPECT_THAT(error({"--corpus", both, "--plan"}), HasSubstr("--plan is refused"));
  EXPECT_THAT(error({"--corpus", both, "--held_out_file", de}),
              HasSubstr("--held_out_file names no languages and --corpus names languages"));
  EXPECT_THAT(error({"--corpus", both, "--held_out_file", "de=" + de}),
              HasSubstr("--held_out_file has no file of en"));
  EXPECT_THAT(error({"--corpus", both, "--objective", "simcse"}),
              HasSubstr("refused for --objective simcse"));
  EXPECT_THAT(error({"--corpus", en, "--tlm_share", "0.5"}), HasSubstr("there is no --parallel"));
  EXPECT_THAT(error({"--corpus", en, "--parallel", pairs, "--plan"}), HasSubstr("--parallel is refused"));
  EXPECT_THAT(error({"--corpus", en, "--parallel", pairs, "--objective", "simcse"}),
              AllOf(HasSubstr("--parallel is refused: translation language modelling predicts masked tokens"),
                    HasSubstr("is simcse")));
}

TEST(Adapt, TextInTheScriptOfAnotherLanguageIsSaid) {
  World world;
  const std::string en = world.lines("en.txt", 50, 1), ru = world.lines("ru.txt", 50, 2);
  const Result r = run_graft(
      adapt_args(world, world.model(), "out", {"--corpus", "en=" + en + ",ru=" + ru, "--max_steps", "1"}));
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_THAT(r.err,
              AllOf(HasSubstr("ru.txt: the rows are in Latin script, and Russian is written in Cyrillic"),
                    Not(HasSubstr("en.txt: the rows"))));
}

TEST(Adapt, BadCorporaAreNamed) {
  World world;
  const std::string model = world.model();
  const auto error = [&](const std::vector<std::string>& more, int code) {
    const Result r = run_graft(adapt_args(world, model, "out", more));
    EXPECT_EQ(r.code, code) << r.err;
    return r.err;
  };
  std::string junk;
  for (int i = 0; i < 3000; ++i) junk += static_cast<char>(i * 37 % 251);
  EXPECT_THAT(error({"--corpus", world.write("junk.txt", junk)}, 1), HasSubstr("junk.txt: "));
  EXPECT_THAT(error({"--corpus", world.write("empty.txt", "")}, 1),
              HasSubstr("no text is left after 0 lines"));
  EXPECT_THAT(error({"--corpus", world.write("one.txt", "one line\n")}, 1),
              HasSubstr("one text alone is left"));
  EXPECT_THAT(error({"--corpus", world / "absent.txt"}, 1), HasSubstr("absent.txt: no such file"));
  EXPECT_THAT(error({}, 2), HasSubstr("--corpus is needed"));
  EXPECT_THAT(error({"--corpus", "x.txt", "--stages", "task,dapt"}, 2),
              HasSubstr("the order is dapt, tapt, task"));
  EXPECT_THAT(error({"--corpus", "x.txt", "--stages", "dapt,task"}, 2), HasSubstr("needs --train_file"));
  EXPECT_THAT(error({"--corpus", "x.txt", "--train_file", "x.csv"}, 2), HasSubstr("--train_file is refused"));
  EXPECT_THAT(error({"--corpus", world.lines("l.txt", 50, 1), "--objective", "causal-lm"}, 2),
              HasSubstr("model_type \"bert\" has masked-lm"));
  const std::vector<std::string> task = {"--corpus",    world / "l.txt",   "--stages",
                                         "dapt,task",   "--train_file",    world / "none.csv",
                                         "--test_file", world / "none.csv"};
  const auto with = [&](const char* name, const char* value) {
    std::vector<std::string> args = task;
    args.insert(args.end(), {name, value});
    return error(args, 2);
  };
  EXPECT_THAT(with("--seeds", "3,3"), HasSubstr("--seeds has 3 twice"));
  EXPECT_THAT(with("--task_arguments", "foo=1"), HasSubstr("--task_arguments: --foo is not known"));
  EXPECT_THAT(with("--task_arguments", "output_dir=x"), HasSubstr("output_dir is refused"));
  for (const char* name : {"--control", "--replay", "--general", "--held_out_file"})
    EXPECT_THAT(with(name, (world / "./l.txt").c_str()),
                HasSubstr("is both --corpus and " + std::string(name)));
  EXPECT_THAT(with("--replay_ratio", "0.2"), HasSubstr("--replay_ratio is refused: there is no --replay"));
  EXPECT_THAT(with("--pilot_steps", "3"), HasSubstr("--pilot_steps is refused: there is no --plan"));
  world.write("full/file.txt", "x");
  std::vector<std::string> full = adapt_args(world, model, "full", {"--corpus", world / "l.txt"});
  EXPECT_THAT(run_graft(full).err, HasSubstr("the output folder is not empty and holds no stages"));
}

}  // namespace
}  // namespace graft::test
