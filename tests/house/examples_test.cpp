// The example programs of the README, run on a model of a few thousand weights.
#include <sys/wait.h>

#include <cstdio>

#include "graft/model.h"
#include "support/shared.h"

namespace graft {
namespace {

constexpr const char* kConfig = R"({
  "model_type": "bert", "vocab_size": 16, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
  "intermediate_size": 32, "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1,
  "max_position_embeddings": 32, "type_vocab_size": 2, "initializer_range": 0.02, "layer_norm_eps": 1e-12, "pad_token_id": 0
})";
constexpr const char* kVocabulary =
    "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\ngood\nbad\nthe\nfilm\nwas\nbook\na\nsoup\nvery\nnot\n.\n";

// A checkpoint folder, a train file of 48 rows and a test file of 6.
struct Examples : testing::Test {
  test::TempDir folder;
  Examples() {
    Model::from_config(folder.write("config.json", kConfig), {.task = "masked-lm"})
        .save_pretrained(folder / "model");
    folder.write("model/vocab.txt", kVocabulary);
    folder.write("model/tokenizer_config.json", R"({"do_lower_case": true})");
    const std::string rows =
        "the film was good,positive\nthe soup was bad,negative\na very good book,positive\n"
        "a very bad film,negative\nthe book was good .,positive\nthe book was not good .,negative\n";
    std::string train = "text,label\n";
    for (int i = 0; i < 8; ++i) train += rows;
    folder.write("train.csv", train);
    folder.write("test.csv", "text,label\n" + rows);
  }
  // Runs a command in the folder and returns what it printed; a status other than 0 fails the test.
  std::string run(const std::string& command) const {
    FILE* pipe = ::popen(("cd '" + folder.path().string() + "' && " + command + " 2>&1").c_str(), "r");
    std::string output;
    char buffer[4096];
    while (const size_t n = std::fread(buffer, 1, sizeof buffer, pipe)) output.append(buffer, n);
    EXPECT_EQ(WEXITSTATUS(::pclose(pipe)), 0) << output;
    return output;
  }
};

TEST_F(Examples, FineTuneThenPredict) {
  const std::string log = run(EXAMPLE_FINE_TUNE " model train.csv test.csv");
  // 48 rows, batch 32, 3 epochs: 6 steps; logged and evaluated every second one.
  EXPECT_THAT(log, testing::HasSubstr("eval_accuracy"));
  EXPECT_THAT(log, testing::HasSubstr("learning_rate"));
  EXPECT_TRUE(std::filesystem::exists(folder / "results/model.safetensors"));
  EXPECT_TRUE(std::filesystem::exists(folder / "results/config.json"));

  const std::string answers = run(EXAMPLE_PREDICT " results 'the film was good' 'bad soup'");
  EXPECT_THAT(answers, testing::MatchesRegex("(positive|negative)\t0\\.[0-9]+\tthe film was good\n"
                                             "(positive|negative)\t0\\.[0-9]+\tbad soup\n"));
}

TEST_F(Examples, FineTuneFromC) {
  const std::string log = run(EXAMPLE_FINE_TUNE_C " model train.csv test.csv");
  EXPECT_THAT(log, testing::HasSubstr("\"learning_rate\":"));
  EXPECT_THAT(log, testing::HasSubstr("\"test_accuracy\":"));
  EXPECT_TRUE(std::filesystem::exists(folder / "results/model.safetensors"));
}

TEST_F(Examples, TrainTokenizer) {
  folder.write("text.txt", "low lower lowest low low new newer newest new wide wider widest\n");
  // The five special tokens, the letters (each also inside a word), and merges.
  EXPECT_EQ(run(EXAMPLE_TRAIN_TOKENIZER " tokenizer 30 text.txt"), "30 tokens, in tokenizer\n");
  EXPECT_TRUE(std::filesystem::exists(folder / "tokenizer/tokenizer.json"));
  EXPECT_TRUE(std::filesystem::exists(folder / "tokenizer/vocab.txt"));
}

}  // namespace
}  // namespace graft
