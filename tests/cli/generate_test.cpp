// graft train --task causal-lm, evaluate and predict with it, and graft generate.
#include "cli/graft_program.h"

namespace graft::test {
namespace {
namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

// A GPT-2 of random weights with the small tokenizer.
class GenerateProgram : public testing::Test {
 protected:
  void SetUp() override {
    GRAFT_SHARED_PATH(tokenizer, "data/tokenizers/small-gpt2");
    fs::create_directories(dir_ / "tokenizer");
    for (const auto& entry : fs::directory_iterator(tokenizer))
      fs::copy_file(entry.path(), dir_ / "tokenizer" / entry.path().filename());
    write_json(dir_ / "config.json", {{"model_type", "gpt2"},
                                      {"vocab_size", 900},
                                      {"n_embd", 16},
                                      {"n_layer", 2},
                                      {"n_head", 2},
                                      {"n_positions", 24},
                                      {"bos_token_id", 0},
                                      {"eos_token_id", 0}});
    std::string text;
    for (int i = 0; i < 120; ++i) text += "one two three four five six seven eight nine ten\n";
    dir_.write("train.txt", text);
  }

  std::vector<std::string> train_args(const std::string& output, std::vector<std::string> more = {}) {
    std::vector<std::string> args = {"train",
                                     "--task",
                                     "causal-lm",
                                     "--config_name",
                                     dir_ / "config.json",
                                     "--tokenizer_name",
                                     dir_ / "tokenizer",
                                     "--train_file",
                                     dir_ / "train.txt",
                                     "--output_dir",
                                     dir_ / output,
                                     "--max_seq_length",
                                     "24",
                                     "--max_steps",
                                     "60",
                                     "--learning_rate",
                                     "1e-2",
                                     "--json"};
    args.insert(args.end(), more.begin(), more.end());
    return args;
  }

  TempDir dir_;
};

TEST_F(GenerateProgram, TrainsScoresAndContinuesWhatItLearned) {
  const Json trained =
      json_lines(graft_output(train_args("out", {"--validation_file", dir_ / "train.txt"}))).front();
  EXPECT_LT(trained["eval_perplexity"].get<double>(), 20);
  EXPECT_GT(trained["eval_accuracy"].get<double>(), 0.5);
  const Json joined =
      json_lines(graft_output(train_args("joined", {"--join_texts", "true", "--max_steps", "2"}))).front();
  EXPECT_NE(joined["train_loss"], trained["train_loss"]);

  const Json scored = json_lines(graft_output({"evaluate", "--model", dir_ / "out", "--test_file",
                                               dir_ / "train.txt", "--json"}))
                          .front();
  EXPECT_NEAR(scored["eval_loss"].get<double>(), trained["eval_loss"].get<double>(), 1e-6);

  dir_.write("some.txt", "one two three four five\nten nine eight seven\n");
  const auto lines =
      json_lines(graft_output({"predict", "--model", dir_ / "out", "--input", dir_ / "some.txt"}));
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_LT(lines[0]["loss"].get<double>(), lines[1]["loss"].get<double>());

  const std::string text = graft_output(
      {"generate", "--model", dir_ / "out", "--prompt", "one two three four", "--max_new_tokens", "4"});
  EXPECT_TRUE(text.starts_with("one two three four")) << text;
  EXPECT_TRUE(text.ends_with("\n"));
  // A file gives the same continuations as its lines do alone.
  const auto beams = [&](const std::string& batch) {
    return graft_output({"generate", "--model", dir_ / "out", "--input", dir_ / "some.txt", "--num_beams",
                         "3", "--num_return_sequences", "2", "--max_new_tokens", "4", "--batch_size", batch});
  };
  EXPECT_EQ(beams("1"), beams("8"));
  EXPECT_EQ(json_lines(beams("8")).size(), 4u);
  const auto drawn = [&](const std::string& seed) {
    return graft_output({"generate", "--model", dir_ / "out", "--prompt", "one", "--do_sample", "true",
                         "--top_k", "0", "--temperature", "3", "--max_new_tokens", "8",
                         "--num_return_sequences", "2", "--seed", seed});
  };
  // Each prompt of a file draws for itself, however the file is cut into batches.
  dir_.write("equal.txt", "one\none\none\none\none\n");
  const auto drawn_of_file = [&](const std::string& batch) {
    return graft_output({"generate", "--model", dir_ / "out", "--input", dir_ / "equal.txt", "--do_sample",
                         "true", "--top_k", "0", "--temperature", "3", "--max_new_tokens", "8",
                         "--batch_size", batch});
  };
  EXPECT_EQ(drawn_of_file("1"), drawn_of_file("3"));
  EXPECT_NE(json_lines(drawn_of_file("2"))[0], json_lines(drawn_of_file("2"))[2]);
  EXPECT_EQ(drawn("1"), drawn("1"));
  EXPECT_NE(drawn("1"), drawn("2"));
}

TEST_F(GenerateProgram, SettingsOfTheFolderAreReadAndKept) {
  graft_output(train_args("out", {"--max_steps", "1"}));
  write_json(dir_ / "out/generation_config.json", {{"max_new_tokens", 2}, {"eos_token_id", 0}});
  const auto tokens = [&](const std::string& folder) {
    dir_.write("p.txt", "one two\n");
    return json_lines(graft_output({"generate", "--model", dir_ / folder, "--input", dir_ / "p.txt"}))
        .front()["generated_text"]
        .get<std::string>();
  };
  const std::string two = tokens("out");
  graft_output({"train", "--task", "causal-lm", "--model", dir_ / "out", "--train_file", dir_ / "train.txt",
                "--output_dir", dir_ / "again", "--max_steps", "1", "--learning_rate", "1e-9",
                "--max_seq_length", "24"});
  EXPECT_EQ(read_json(dir_ / "again/generation_config.json").dump(),
            read_json(dir_ / "out/generation_config.json").dump());
  EXPECT_EQ(tokens("again"), two);
  write_json(dir_ / "out/generation_config.json", {{"num_beams", 2}, {"do_sample", true}});
  const Result wrong = run_graft({"generate", "--model", dir_ / "out", "--prompt", "one"});
  EXPECT_EQ(wrong.code, 2);
  EXPECT_THAT(wrong.err, HasSubstr("num_beams 2 with do_sample true"));
}

// Numbers and switches of a --config file are those of its json, and stop strings end the text.
TEST_F(GenerateProgram, AConfigFileHasTheSettings) {
  graft_output(train_args("out", {"--max_steps", "1"}));
  write_json(dir_ / "g.json",
             {{"temperature", 2.5}, {"do_sample", true}, {"top_p", 0.9}, {"max_new_tokens", 6}, {"seed", 3}});
  const auto run = [&](std::vector<std::string> more) {
    std::vector<std::string> args = {"generate", "--model", dir_ / "out", "--prompt", "one two"};
    args.insert(args.end(), more.begin(), more.end());
    return graft_output(args);
  };
  EXPECT_EQ(run({"--config", dir_ / "g.json"}), run({"--temperature", "2.5", "--do_sample", "--top_p", "0.9",
                                                     "--max_new_tokens", "6", "--seed", "3"}));
  write_json(dir_ / "b.json", {{"num_beams", 2}, {"early_stopping", true}, {"length_penalty", 2}});
  EXPECT_EQ(run({"--config", dir_ / "b.json"}),
            run({"--num_beams", "2", "--early_stopping", "true", "--length_penalty", "2"}));
}

TEST_F(GenerateProgram, BadInputIsNamed) {
  graft_output(train_args("out", {"--max_steps", "1"}));
  std::string words;
  for (int i = 0; i < 30; ++i) words += "one two ";
  dir_.write("long.txt", "one\n" + words + "\n");
  const Result longer = run_graft({"generate", "--model", dir_ / "out", "--input", dir_ / "long.txt"});
  EXPECT_EQ(longer.code, 1);
  EXPECT_THAT(longer.err, AllOf(HasSubstr("line 2"), HasSubstr("24 positions")));
  const Result capped =
      run_graft({"generate", "--model", dir_ / "out", "--prompt", "one", "--max_new_tokens", "50"});
  EXPECT_EQ(capped.code, 0);
  EXPECT_THAT(capped.err, HasSubstr("of the 50 new tokens"));
  const Result whole = run_graft({"generate", "--model", dir_ / "out", "--prompt", words});
  EXPECT_EQ(whole.code, 1);
  EXPECT_THAT(whole.err, AllOf(HasSubstr("24 positions"), HasSubstr("hint: shorten the prompt")));
  // An empty prompt begins with bos_token.
  for (const std::string& text : {graft_output({"generate", "--model", dir_ / "out", "--prompt", ""}),
                                  graft_output({"generate", "--model", dir_ / "out", "--prompt="})})
    EXPECT_GT(text.size(), 1u);
  EXPECT_THAT(run_graft({"generate", "--model", dir_ / "out", "--prompt"}).err,
              HasSubstr("--prompt needs a value"));
  dir_.write("empty.txt", "\n");
  EXPECT_EQ(
      json_lines(graft_output({"generate", "--model", dir_ / "out", "--input", dir_ / "empty.txt"})).size(),
      1u);
  for (const auto& [more, text] : std::vector<std::pair<std::vector<std::string>, std::string>>{
           {{"--top_k", "4"}, "--top_k is refused"},
           {{"--length_penalty", "2"}, "--length_penalty is refused"},
           {{"--input", "x.txt"}, "one of the two"},
           {{"--num_beams", "2", "--num_return_sequences", "3"}, "more than the 2 beams"},
           {{"--min_new_tokens", "9", "--max_new_tokens", "5"}, "min_new_tokens 9"},
           {{"--min_length", "9", "--max_length", "5"}, "min_length 9 is more than max_length 5"},
           {{"--num_beams", "2", "--do_sample", "true"}, "set num_beams 1, or do_sample false"},
           {{"--max_new_tokens", "0"}, "--max_new_tokens 0 is out of range: it may be from 1 to 1000000\n"},
           {{"--num_beams", "2", "--early_stopping", "soon"}, "true, false or never was expected"},
           {{"--stop_strings", ""}, "--stop_strings needs a value"},
           {{"--num_beam_groups", "2"}, "--num_beam_groups is not an option"},
           {{"--do_sample", "true", "--temperature", "0"}, "temperature is 0"}}) {
    std::vector<std::string> args = {"generate", "--model", dir_ / "out", "--prompt", "one"};
    args.insert(args.end(), more.begin(), more.end());
    const Result refused = run_graft(args);
    EXPECT_EQ(refused.code, 2) << text << refused.err;
    EXPECT_THAT(refused.err, HasSubstr(text));
  }
}

}  // namespace
}  // namespace graft::test
