// graft train --peft_type, end to end: a folder of adapters, which every verb reads.
#include <tuple>

#include "base/file.h"
#include "cli/graft_program.h"

namespace graft::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
namespace fs = std::filesystem;

class AdapterProgram : public testing::Test {
 protected:
  // Adapters of the world's model, which knows the task already: its texts with the labels exchanged.
  Result train(const std::string& out, std::vector<std::string> more) {
    std::vector<std::string> args = {"train",
                                     "--model",
                                     world_.model(),
                                     "--task",
                                     "sequence-classification",
                                     "--train_file",
                                     world_.rows("train.csv", 64, 1),
                                     "--output_dir",
                                     world_ / out,
                                     "--bf16",
                                     "false"};
    args.insert(args.end(), more.begin(), more.end());
    return run_graft(args);
  }
  World world_;
};

TEST_F(AdapterProgram, WritesAFolderOfAdaptersThatEveryVerbReads) {
  const Result r = train("lora", {"--peft_type", "lora", "--lora_r", "4", "--target_modules", "query,value",
                                  "--max_steps", "4", "--learning_rate", "0.01"});
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_THAT(r.err, HasSubstr("lora: "));
  EXPECT_THAT(r.err, HasSubstr("modules (query, value) and 34 of classifier are trained: "));
  EXPECT_FALSE(fs::exists(world_ / "lora/model.safetensors"));
  EXPECT_EQ(read_json(world_ / "lora/adapter_config.json").at("base_model_name_or_path"),
            Json(fs::weakly_canonical(world_.model()).string()));
  const std::string dev = world_.rows("dev.csv", 16, 2);
  EXPECT_THAT(graft_output({"evaluate", "--model", world_ / "lora", "--test_file", dev}),
              HasSubstr("eval_accuracy"));
  EXPECT_THAT(graft_output({"info", "--model", world_ / "lora"}),
              HasSubstr("bert for sequence-classification"));
  EXPECT_EQ(json_lines(graft_output({"tokenize", "--model", world_ / "lora"}, "good\n")).size(), 1u);
  EXPECT_EQ(json_lines(graft_output({"embed", "--model", world_ / "lora"}, "good\n")).size(), 1u);
  EXPECT_EQ(json_lines(graft_output({"predict", "--model", world_ / "lora"}, "good\n")).size(), 1u);
  const Result again =
      run_graft({"train", "--model", world_ / "lora", "--task", "sequence-classification", "--train_file",
                 dev, "--output_dir", world_ / "further", "--max_steps", "2"});
  ASSERT_EQ(again.code, 0) << again.err;
  EXPECT_THAT(again.err, HasSubstr("its adapters are trained further"));
  EXPECT_TRUE(fs::exists(world_ / "further/adapter_model.safetensors"));
}

TEST_F(AdapterProgram, AreMergedIntoAWholeModel) {
  for (const char* method : {"lora", "ia3"}) {
    ASSERT_EQ(train(method, {"--peft_type", method, "--max_steps", "4", "--learning_rate", "0.01"}).code, 0);
    const std::string folder = world_ / method, merged = folder + "-merged";
    const Result r = run_graft({"merge", "--adapter", folder, "--output_dir", merged});
    ASSERT_EQ(r.code, 0) << r.err;
    EXPECT_EQ(r.out, "");
    EXPECT_THAT(r.err, HasSubstr("modules are merged into the weights of"));
    EXPECT_TRUE(fs::exists(merged + "/model.safetensors"));
    EXPECT_FALSE(fs::exists(merged + "/adapter_config.json"));
    const auto score = [&](const std::string& model) {
      return json_lines(graft_output({"predict", "--model", model}, "good\n"))[0].at("score").get<double>();
    };
    EXPECT_NEAR(score(folder), score(merged), 1e-5) << method;
  }
  const std::string folder = world_ / "lora", base = world_.model();
  Result r = run_graft({"merge", "--adapter", folder, "--output_dir", folder});
  EXPECT_EQ(r.code, 2);
  EXPECT_THAT(r.err, HasSubstr("is the folder of the adapter, which would be overwritten"));
  r = run_graft({"merge", "--adapter", folder, "--output_dir", base});
  EXPECT_THAT(r.err, HasSubstr("is the folder of the base model"));
  r = run_graft({"merge", "--adapter", base, "--output_dir", world_ / "x"});
  EXPECT_EQ(r.code, 1);
  EXPECT_THAT(r.err, HasSubstr("is no folder of adapters"));
}

TEST_F(AdapterProgram, VirtualTokensAreTrainedReadAndNotMerged) {
  const Result r = train(
      "prompt", {"--peft_type", "prompt_tuning", "--num_virtual_tokens", "4", "--prompt_tuning_init", "TEXT",
                 "--prompt_tuning_init_text", "good or bad", "--max_steps", "4", "--learning_rate", "0.01"});
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_THAT(r.err, HasSubstr(" parameters of 4 virtual tokens and 34 of classifier are trained: "));
  const std::string folder = world_ / "prompt", dev = world_.rows("dev.csv", 16, 2);
  EXPECT_THAT(graft_output({"evaluate", "--model", folder, "--test_file", dev}), HasSubstr("eval_accuracy"));
  EXPECT_THAT(graft_output({"info", "--model", folder}), HasSubstr("bert for sequence-classification"));
  EXPECT_EQ(json_lines(graft_output({"predict", "--model", folder}, "good\n")).size(), 1u);
  const Result embedded = run_graft({"embed", "--model", folder}, {"good\n"});
  EXPECT_EQ(embedded.code, 1);
  EXPECT_THAT(embedded.err, HasSubstr("not for sentence-embedding"));
  const Result m = run_graft({"merge", "--adapter", folder, "--output_dir", world_ / "merged"});
  EXPECT_EQ(m.code, 1);
  EXPECT_THAT(m.err, AllOf(HasSubstr("virtual tokens cannot be merged into the weights"),
                           HasSubstr("use the folder")));
}

// Of AdapterHub: --peft_type seq_bn and others.
TEST_F(AdapterProgram, BottlenecksAreTrainedReadAndNotMerged) {
  const Result r = train("bn", {"--peft_type", "houlsby", "--reduction_factor", "4", "--max_steps", "4",
                                "--learning_rate", "0.01", "--leave_out", "1"});
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_THAT(r.err, AllOf(HasSubstr("--peft_type houlsby is the older name of double_seq_bn"),
                           HasSubstr("bottleneck: "), HasSubstr(" parameters in 2 adapters and ")));
  const std::string folder = world_ / "bn";
  const Json config = read_json(folder + "/adapter_config.json");
  EXPECT_EQ(config.at("model_name"), Json(fs::weakly_canonical(world_.model()).string()));
  EXPECT_EQ(config.at("config").at("reduction_factor"), Json(4));
  EXPECT_EQ(config.at("config").at("non_linearity"), Json("swish"));
  const std::string dev = world_.rows("dev.csv", 16, 2);
  EXPECT_THAT(graft_output({"evaluate", "--model", folder, "--test_file", dev}), HasSubstr("eval_accuracy"));
  EXPECT_THAT(graft_output({"info", "--model", folder}), HasSubstr("bert for sequence-classification"));
  EXPECT_EQ(json_lines(graft_output({"embed", "--model", folder}, "good\n")).size(), 1u);
  EXPECT_EQ(json_lines(graft_output({"predict", "--model", folder}, "good\n")).size(), 1u);
  Result m = run_graft({"merge", "--adapter", folder, "--output_dir", world_ / "merged"});
  EXPECT_EQ(m.code, 1);
  EXPECT_THAT(m.err, AllOf(HasSubstr("cannot be merged into the weights"), HasSubstr("use the folder")));
  EXPECT_FALSE(fs::exists(world_ / "merged"));
  // A whole model, or adapters of peft, replace its files.
  ASSERT_EQ(train("bn", {"--peft_type", "lora", "--max_steps", "1", "--overwrite_output_dir", "true"}).code,
            0);
  for (const char* file : {"/adapter.safetensors", "/model_head.safetensors", "/head_config.json"})
    EXPECT_FALSE(fs::exists(folder + file)) << file;
  EXPECT_TRUE(fs::exists(folder + "/adapter_model.safetensors"));
}

// MAD-X: language adapters of text, a task adapter above one, another language at test time.
TEST_F(AdapterProgram, ATaskAdapterIsStackedOnALanguageAdapter) {
  const auto adapt = [&](const std::string& out, int seed, std::vector<std::string> more) {
    std::vector<std::string> args = {"adapt",
                                     "--model",
                                     world_.model(),
                                     "--stages",
                                     "dapt",
                                     "--corpus",
                                     world_.lines(out + ".txt", 200, seed),
                                     "--output_dir",
                                     world_ / out,
                                     "--max_seq_length",
                                     "24",
                                     "--learning_rate",
                                     "1e-2",
                                     "--near_duplicates",
                                     "2",
                                     "--bf16",
                                     "false"};
    args.insert(args.end(), more.begin(), more.end());
    return run_graft(args);
  };
  for (const auto& [name, seed] : {std::pair{"en", 1}, {"de", 2}}) {
    const Result r = adapt(name, seed, {"--peft_type", "seq_bn_inv", "--reduction_factor", "4"});
    ASSERT_EQ(r.code, 0) << r.err;
    EXPECT_THAT(r.err, AllOf(HasSubstr("bottleneck: "), Not(HasSubstr("is trained alone for"))));
    EXPECT_TRUE(fs::exists(world_ / name + "/adapter.safetensors"));
    EXPECT_FALSE(fs::exists(world_ / name + "/model.safetensors"));
    EXPECT_EQ(read_json(world_ / name + "/adapter_config.json").at("model_name"),
              Json(fs::weakly_canonical(world_.model()).string()));
  }
  EXPECT_THAT(adapt("no", 1, {"--peft_type", "lora"}).err, HasSubstr("--peft_type is refused: adapt trains"));
  EXPECT_THAT(adapt("no", 1, {"--peft_type", "seq_bn_inv", "--extend_vocabulary", "8"}).err,
              HasSubstr("the embeddings are frozen"));
  EXPECT_THAT(adapt("no", 1, {"--peft_type", "seq_bn_inv", "--objective", "simcse"}).err,
              HasSubstr("--peft_type is refused for the objective simcse"));

  const Result r = train("task", {"--peft_type", "seq_bn", "--load_lang_adapter", world_ / "en",
                                  "--max_steps", "8", "--learning_rate", "0.01"});
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_THAT(r.err, HasSubstr(" parameters in 2 adapters and 34 of the head are trained: "));
  EXPECT_EQ(read_json(world_ / "task/training_args.json").at("load_lang_adapter"), Json(world_ / "en"));
  const std::string dev = world_.rows("dev.csv", 16, 2);
  const auto score = [&](std::vector<std::string> more) {
    std::vector<std::string> args = {"predict", "--model", world_ / "task"};
    args.insert(args.end(), more.begin(), more.end());
    return json_lines(graft_output(args, "good\n"))[0].at("score").get<double>();
  };
  EXPECT_EQ(score({}), score({"--load_lang_adapter", world_ / "en"}));
  EXPECT_NE(score({}), score({"--load_lang_adapter", world_ / "de"}));
  const auto evaluated = [&](const std::string& language) {
    return json_lines(graft_output({"evaluate", "--model", world_ / "task", "--test_file", dev, "--json",
                                    "--load_lang_adapter", world_ / language}))[0]
        .at("eval_loss")
        .get<double>();
  };
  EXPECT_NE(evaluated("en"), evaluated("de"));
  const Result wrong =
      run_graft({"predict", "--model", world_ / "task", "--load_lang_adapter", world_ / "task"});
  EXPECT_EQ(wrong.code, 1);
  EXPECT_THAT(wrong.err, HasSubstr("is a task adapter"));
  EXPECT_THAT(adapt("no", 1, {"--load_lang_adapter", world_ / "en"}).err,
              HasSubstr("--load_lang_adapter is refused: a language adapter is trained here"));
  const std::string text = world_.lines("text.txt", 20, 1);
  EXPECT_THAT(run_graft({"train", "--task", "masked-lm", "--config_name", world_.model(), "--tokenizer_name",
                         world_.model(), "--train_file", text, "--output_dir", world_ / "no",
                         "--load_lang_adapter", world_ / "en"})
                  .err,
              HasSubstr("--load_lang_adapter is refused with --config_name"));
  EXPECT_THAT(run_graft({"xling", "--model", world_.model(), "--train_file", dev, "--test_files", "de=" + dev,
                         "--output_dir", world_ / "no", "--load_lang_adapter", world_ / "en"})
                  .err,
              HasSubstr("--load_lang_adapter is refused: xling trains whole models"));
  EXPECT_THAT(train("no", {"--load_lang_adapter", world_ / "en"}).err,
              HasSubstr("--load_lang_adapter needs --peft_type"));
}

TEST_F(AdapterProgram, AFullRunReplacesTheFilesOfAdapters) {
  ASSERT_EQ(train("out", {"--peft_type", "lora", "--max_steps", "1"}).code, 0);
  ASSERT_EQ(train("out", {"--max_steps", "1", "--overwrite_output_dir", "true"}).code, 0);
  EXPECT_TRUE(fs::exists(world_ / "out/model.safetensors"));
  EXPECT_FALSE(fs::exists(world_ / "out/adapter_config.json"));
  EXPECT_FALSE(fs::exists(world_ / "out/adapter_model.safetensors"));
  ASSERT_EQ(train("out", {"--peft_type", "ia3", "--max_steps", "1", "--overwrite_output_dir", "true"}).code,
            0);
  EXPECT_FALSE(fs::exists(world_ / "out/model.safetensors"));
  EXPECT_TRUE(fs::exists(world_ / "out/adapter_config.json"));
}

// Each line names its adapter and has the numbers of the folder alone.
TEST_F(AdapterProgram, SeveralPredictOverOneBase) {
  ASSERT_EQ(train("one", {"--peft_type", "lora", "--max_steps", "4", "--learning_rate", "0.01"}).code, 0);
  ASSERT_EQ(train("two", {"--peft_type", "seq_bn", "--max_steps", "4", "--learning_rate", "0.02"}).code, 0);
  const std::string input = world_.write("texts.txt", "good\nbad\na good day\n");
  const std::vector<std::string> both = {"predict",
                                         "--model",
                                         world_.model(),
                                         "--adapter",
                                         "spam=" + world_ / "one",
                                         "--adapter",
                                         "topic=" + world_ / "two",
                                         "--input",
                                         input};
  const std::vector<Json> lines = json_lines(graft_output(both));
  ASSERT_EQ(lines.size(), 6u);
  for (const auto& [name, folder, first] :
       {std::tuple{"spam", "one", size_t{0}}, {"topic", "two", size_t{1}}}) {
    const std::vector<Json> alone =
        json_lines(graft_output({"predict", "--model", world_ / folder, "--input", input}));
    ASSERT_EQ(alone.size(), 3u);
    for (size_t i = 0; i < alone.size(); ++i) {
      const Json& line = lines[2 * i + first];
      EXPECT_EQ(line.at("adapter"), Json(name));
      EXPECT_EQ(line.at("label"), alone[i].at("label"));
      EXPECT_EQ(line.at("score"), alone[i].at("score"));
    }
  }
  const auto refused = [&](std::vector<std::string> more, int code) {
    std::vector<std::string> args = {"predict", "--model", world_.model(), "--input", input};
    args.insert(args.end(), more.begin(), more.end());
    const Result r = run_graft(args);
    EXPECT_EQ(r.code, code) << r.err;
    EXPECT_EQ(r.out, "");
    return r.err;
  };
  const std::string one = "a=" + world_ / "one";
  EXPECT_THAT(refused({"--adapter", world_ / "one"}, 2), HasSubstr("is not NAME=DIR"));
  EXPECT_THAT(refused({"--adapter", one, "--adapter", one}, 2), HasSubstr("the name a is given twice"));
  EXPECT_THAT(refused({"--adapter", "a=" + world_.model()}, 1), HasSubstr("is no folder of adapters"));
  EXPECT_THAT(refused({"--adapter", one, "--top_k", "2"}, 2), HasSubstr("--return_all_scores"));
  EXPECT_THAT(refused({"--adapter", one, "--stride", "2"}, 2), HasSubstr("it labels no words"));
  const std::string ranked = world_.write("ranked.jsonl", R"({"query": "good", "candidates": ["bad"]})");
  EXPECT_THAT(refused({"--adapter", one, "--input", ranked}, 2), HasSubstr("one model ranks them"));
  // A base of other weights.
  ASSERT_EQ(train("other", {"--max_steps", "1", "--learning_rate", "0.01"}).code, 0);
  const Result r = run_graft({"predict", "--model", world_ / "other", "--adapter", one, "--input", input});
  EXPECT_EQ(r.code, 1);
  EXPECT_THAT(r.err,
              AllOf(HasSubstr("was trained on other weights than those of"), HasSubstr(world_.model())));
}

TEST_F(AdapterProgram, SaysWhatDoesNotFit) {
  Result r = train("out", {"--peft_type", "lora", "--target_modules", "qery"});
  EXPECT_EQ(r.code, 2);
  EXPECT_THAT(r.err, AllOf(HasSubstr("is named \"qery\""), HasSubstr("did you mean query?")));
  r = train("out", {"--lora_r", "4"});
  EXPECT_EQ(r.code, 2);
  EXPECT_THAT(r.err, HasSubstr("--lora_r is for --peft_type lora, which is not given"));
  ASSERT_EQ(train("lora", {"--peft_type", "lora", "--max_steps", "1"}).code, 0);
  Json config = read_json(world_ / "lora/adapter_config.json");
  config["base_model_name_or_path"] = world_ / "gone";
  write_json(world_ / "lora/adapter_config.json", config);
  r = run_graft({"predict", "--model", world_ / "lora"}, {"good\n"});
  EXPECT_EQ(r.code, 1);
  EXPECT_THAT(r.err, AllOf(HasSubstr("there is no such folder"), HasSubstr("base_model_name_or_path")));
  // A pickle that does more than hold tensors is refused by the reader of checkpoints.
  config["base_model_name_or_path"] = world_.model();
  write_json(world_ / "lora/adapter_config.json", config);
  fs::remove(world_ / "lora/adapter_model.safetensors");
  world_.write("lora/adapter_model.bin", "cos\nsystem\n(S'true'\ntR.");
  r = run_graft({"predict", "--model", world_ / "lora"}, {"good\n"});
  EXPECT_EQ(r.code, 1);
  EXPECT_THAT(r.err, HasSubstr("adapter_model.bin"));
}

}  // namespace
}  // namespace graft::test
