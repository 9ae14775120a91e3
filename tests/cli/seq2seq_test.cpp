// graft train --task seq2seq-lm, evaluate and predict with it.
#include "cli/graft_program.h"

namespace graft::test {
namespace {
namespace fs = std::filesystem;
using testing::HasSubstr;

// A T5 of random weights with the small tokenizer, and rows whose label is a colour of the text.
class Seq2SeqProgram : public testing::Test {
 protected:
  void SetUp() override {
    GRAFT_SHARED_PATH(tokenizer, "golden/tokenizers/small-t5");
    tokenizer_ = tokenizer.string();
    write_json(dir_ / "config.json", {{"model_type", "t5"},
                                      {"vocab_size", 710},
                                      {"d_model", 32},
                                      {"d_kv", 8},
                                      {"d_ff", 64},
                                      {"num_layers", 1},
                                      {"num_decoder_layers", 1},
                                      {"num_heads", 4},
                                      {"dropout_rate", 0.0},
                                      {"decoder_start_token_id", 0},
                                      {"eos_token_id", 1},
                                      {"pad_token_id", 0}});
    const char* const kColours[] = {"red", "green", "blue"};
    std::string csv = "text,label\n";
    for (int i = 0; i < 24; ++i)
      csv +=
          std::string(i % 2 ? "the house " : "one ") + kColours[i * 7 % 3] + "," + kColours[i * 7 % 3] + "\n";
    rows_ = dir_.write("rows.csv", csv);
  }

  std::vector<std::string> train_args(std::vector<std::string> more) {
    std::vector<std::string> args = {"train",
                                     "--task",
                                     "text2text-generation",
                                     "--config_name",
                                     dir_ / "config.json",
                                     "--tokenizer_name",
                                     tokenizer_,
                                     "--train_file",
                                     rows_,
                                     "--output_dir",
                                     dir_ / "out",
                                     "--learning_rate",
                                     "1e-2",
                                     "--bf16",
                                     "false"};
    args.insert(args.end(), more.begin(), more.end());
    return args;
  }

  TempDir dir_;
  std::string tokenizer_, rows_;
};

TEST_F(Seq2SeqProgram, TrainsEvaluatesAndWritesTexts) {
  const Json trained =
      parse_json(graft_output(train_args({"--max_steps", "150", "--validation_file", rows_, "--source_prefix",
                                          "colour: ", "--predict_with_generate", "--generation_num_beams",
                                          "2", "--json"})),
                 "the result");
  EXPECT_EQ(trained["eval_exact_match"], 1.0);
  // evaluate follows the settings of training, and may change them.
  const std::string out = dir_ / "out";
  const Json scores =
      parse_json(graft_output({"evaluate", "--model", out, "--test_file", rows_, "--json"}), "the scores");
  for (const char* name : {"eval_loss", "eval_exact_match", "eval_rouge1", "eval_chrf", "eval_gen_len"})
    EXPECT_EQ(scores[name], trained[name]) << name;
  const Json losses = parse_json(graft_output({"evaluate", "--model", out, "--test_file", rows_, "--json",
                                               "--predict_with_generate", "false", "--source_prefix", "x"}),
                                 "the scores");
  EXPECT_FALSE(losses.contains("eval_rouge1"));
  EXPECT_NE(losses["eval_loss"], trained["eval_loss"]);
  // predict writes the texts, of single texts and of a file with targets.
  const std::vector<Json> lines =
      json_lines(graft_output({"predict", "--model", out}, "the house red\none green\n"));
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0], Json({{"generated_text", "red"}}));
  EXPECT_EQ(lines[1], Json({{"generated_text", "green"}}));
  EXPECT_EQ(json_lines(graft_output({"predict", "--model", out, "--input", rows_})).size(), 24u);
}

TEST_F(Seq2SeqProgram, OptionsOfTheOtherKindOfDataAreRefused) {
  EXPECT_THAT(run_graft(train_args({"--mlm_probability", "0.3"})).err,
              HasSubstr("--mlm_probability is refused: it is for text with --span_corruption true"));
  EXPECT_THAT(run_graft(train_args({"--span_corruption", "--source_prefix", "x"})).err,
              HasSubstr("--source_prefix is refused: it is for sources and targets"));
  EXPECT_THAT(run_graft(train_args({"--text_column", "text", "--target_column", "summary"})).err,
              HasSubstr("there is no column 'summary'"));
}

}  // namespace
}  // namespace graft::test
