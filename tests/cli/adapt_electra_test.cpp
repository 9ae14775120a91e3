// graft adapt --objective rtd: a discriminator and its generator.
#include "base/file.h"
#include "cli/adapt_run.h"
#include "graft/model.h"

namespace graft::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
namespace fs = std::filesystem;

// A discriminator with random weights and a generator with its embeddings, in world/d and world/g.
void make_electra_pair(const World& world, const std::string& model) {
  Json config = {{"model_type", "electra"},  {"vocab_size", read_json(model + "/config.json")["vocab_size"]},
                 {"embedding_size", 8},      {"hidden_size", 16},
                 {"num_hidden_layers", 1},   {"num_attention_heads", 2},
                 {"intermediate_size", 24},  {"max_position_embeddings", 40},
                 {"initializer_range", 0.1}, {"pad_token_id", 0}};
  for (const auto& [name, task, size] :
       {std::tuple{"d", "replaced-token-detection", 16}, {"g", "masked-lm", 8}}) {
    config["hidden_size"] = size;
    ModelOptions options;
    options.task = task;
    const std::string folder = world / name;
    Model::from_config(world.write(std::string(name) + ".json", config.dump()), options)
        .save_pretrained(folder);
    for (const char* file : {"vocab.txt", "tokenizer_config.json", "tokenizer.json"})
      if (fs::exists(model + "/" + file)) fs::copy_file(model + "/" + file, fs::path(folder) / file);
  }
}

TEST(AdaptElectra, ADiscriminatorLearnsToFindReplacedTokens) {
  World world;
  make_electra_pair(world, world.model());
  const std::vector<std::string> more = {"--stages",         "dapt,tapt,task",
                                         "--corpus",         world.lines("corpus.txt", 300, 1),
                                         "--replay",         world.lines("general.txt", 100, 5),
                                         "--train_file",     world.rows("train.csv", 48, 1),
                                         "--test_file",      world.rows("test.csv", 24, 2),
                                         "--seeds",          "1",
                                         "--generator",      world / "g",
                                         "--task_arguments", "num_train_epochs=1",
                                         "--tapt_arguments", "num_train_epochs=1",
                                         "--max_steps",      "6"};
  const Result r = run_graft(adapt_args(world, world / "d", "out", more));
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_THAT(r.err, AllOf(HasSubstr("objective: rtd (replaced-token-detection, with a generator)"),
                           HasSubstr("the generator's embeddings are those of the discriminator")));
  EXPECT_THAT(r.out, HasSubstr("f1 "));
  const Json results = read_json(world / "out/adapt_results.json");
  EXPECT_EQ(results["measure"], "f1");
  const Json& row = row_of(results["stages"], "stage", "dapt");
  for (const char* text : {"held_out", "general"})
    for (const char* when : {"before", "after"}) EXPECT_TRUE(row[when][text].is_number()) << when << text;
  EXPECT_FALSE(fs::exists(world / "out/generator"));  // of a classifier
  // The stage behind went on with the generator of the one before it.
  const fs::path dapt = stage_of(world / "out", "dapt"), tapt = stage_of(world / "out", "dapt-tapt");
  EXPECT_EQ(read_json(dapt / "config.json")["architectures"], Json::array({"ElectraForPreTraining"}));
  EXPECT_EQ(read_json(dapt / "generator/config.json")["architectures"], Json::array({"ElectraForMaskedLM"}));
  EXPECT_EQ(read_json(tapt / "key.json")["generator"]["model.safetensors"],
            read_json(dapt / "manifest.json")["files"]["generator/model.safetensors"]["sha256"]);

  const Result again = run_graft(adapt_args(world, world / "d", "out", more));
  EXPECT_THAT(again.err, AllOf(HasSubstr("\ndapt: taken from the cache"), HasSubstr("\ndapt-tapt: taken")));
}

TEST(AdaptElectra, ThePublishedPairIsTheStartOfAnotherRun) {
  World world;
  make_electra_pair(world, world.model());
  const std::string corpus = world.lines("corpus.txt", 200, 1);
  graft_output(adapt_args(world, world / "d", "out",
                          {"--corpus", corpus, "--max_steps", "3", "--generator", world / "g"}));
  EXPECT_TRUE(fs::exists(world / "out/generator/model.safetensors"));
  // It is the generator where none is named; a change in it is another run.
  const std::vector<std::string> args =
      adapt_args(world, world / "out", "next", {"--corpus", corpus, "--max_steps", "2"});
  graft_output(args);
  EXPECT_THAT(run_graft(args).err, HasSubstr("\ndapt: taken from the cache"));
  fs::copy_file(world / "g/model.safetensors", world / "out/generator/model.safetensors",
                fs::copy_options::overwrite_existing);
  EXPECT_THAT(run_graft(args).err, Not(HasSubstr("\ndapt: taken from the cache")));
  // A discriminator without its head gets one, trained alone first, which the generator waits for.
  ModelOptions bare;
  bare.task = "sentence-embedding";
  Model::from_pretrained(world / "d", bare).save_pretrained(world / "d");
  const Result headless = run_graft(
      adapt_args(world, world / "d", "headless",
                 {"--corpus", corpus, "--max_steps", "2", "--objective", "rtd", "--generator", world / "g"}));
  ASSERT_EQ(headless.code, 0) << headless.err;
  EXPECT_THAT(headless.err, HasSubstr("has no head for rtd"));
  const fs::path head = stage_of(world / "headless", "dapt-head");
  EXPECT_EQ(read_json(head / "training_args.json")["freeze"], "electra.*,generator.*");
  EXPECT_EQ(read_file(head / "generator/model.safetensors").size(),
            read_file(world / "headless/generator/model.safetensors").size());
}

TEST(AdaptElectra, AGeneratorThatDoesNotFitIsRefused) {
  World world;
  make_electra_pair(world, world.model());
  const std::string corpus = world.lines("corpus.txt", 60, 1), g = world / "g";
  const auto error = [&](const std::string& model, std::vector<std::string> more, int code = 2) {
    more.insert(more.end(), {"--corpus", corpus});
    const Result r = run_graft(adapt_args(world, model, "out", more));
    EXPECT_EQ(r.code, code) << r.err;
    return r.err;
  };
  EXPECT_THAT(error(world / "d", {}),
              AllOf(HasSubstr("--generator is needed"), HasSubstr("google/electra-small-generator"),
                    HasSubstr("--objective masked-lm")));
  // Nothing is pretrained: none is needed.
  const Result task =
      run_graft({"adapt", "--model", world / "d", "--output_dir", world / "task", "--stages", "task",
                 "--train_file", world.rows("a.csv", 24, 1), "--test_file", world.rows("b.csv", 12, 2),
                 "--seeds", "1", "--task_arguments", "max_steps=1"});
  EXPECT_EQ(task.code, 0) << task.err;
  EXPECT_THAT(
      error(world.model(), {"--generator", g}),
      AllOf(HasSubstr("--generator is refused: the objective is masked-lm"), HasSubstr("--objective rtd")));
  EXPECT_THAT(error(world.model(), {"--objective", "rtd", "--generator", g}),
              HasSubstr("model_type \"bert\" has masked-lm, simcse"));
  EXPECT_THAT(error(world / "d", {"--generator", g, "--plan"}),
              HasSubstr("--plan is refused for --objective rtd"));
  EXPECT_THAT(error(world / "d", {"--generator", g, "--extend_vocabulary", "5"}),
              HasSubstr("--extend_vocabulary is refused for --objective rtd"));
  EXPECT_THAT(error(world / "d", {"--generator", world / "d"}, 1), HasSubstr("is no generator"));
  EXPECT_THAT(error(world / "d", {"--generator", world / "nowhere"}, 1), HasSubstr("nowhere"));
  std::string vocabulary = read_file(g + "/vocab.txt");
  const size_t good = vocabulary.find("\ngood\n");
  ASSERT_NE(good, std::string::npos);
  vocabulary.replace(good, 6, "\ngxyd\n");
  write_file(g + "/vocab.txt", vocabulary);
  fs::remove(g + "/tokenizer.json");
  EXPECT_THAT(error(world / "d", {"--generator", g}),
              AllOf(HasSubstr("its vocabulary is another one"), HasSubstr("'gxyd', and 'good' in that")));
  EXPECT_THAT(run_graft({"predict", "--model", world / "d"}, {.input = "a good film\n"}).err,
              HasSubstr("has no answer of a replaced-token-detection model"));
}

}  // namespace
}  // namespace graft::test
