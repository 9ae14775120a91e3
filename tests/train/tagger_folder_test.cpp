// A tagger of a byte-level tokenizer is trained on words with a space before each. Its folder says so, and a
// text's first word is then read as in training.
#include "base/json.h"
#include "models/model_case.h"
#include "train/tiny_run.h"

namespace graft::train {
namespace {
using namespace graft::test;

TEST(TaggerFolder, SaysThatWordsHaveSpaces) {
  const TempDir dir;
  dir.write("config.json",
            R"({"model_type": "roberta", "vocab_size": 2000, "hidden_size": 32, "num_hidden_layers": 1,
    "num_attention_heads": 4, "intermediate_size": 64, "max_position_embeddings": 66, "type_vocab_size": 1})");
  const std::filesystem::path rows =
      dir.write("train.conll", "Berlin\tB-LOC\nis\tO\nlarge\tO\n\nParis\tB-LOC\n");
  DatasetOptions words;
  words.tagged_words = true;
  for (const char* name : {"small-roberta", "small-bert-cased"}) {
    const auto tokenizer = Tokenizer::from_pretrained(fixture_path("golden/tokenizers/" + std::string(name)));
    const bool prefixes = std::string(name) == "small-roberta";
    EXPECT_EQ(tokenizer->prefixes_words(), prefixes);
    ModelOptions options;
    options.task = "token-classification";
    options.labels = {"B-LOC", "O"};
    TrainingArguments a;
    a.output_dir = (dir / name).string();
    a.max_steps = 1;
    a.max_seq_length = 32;
    a.save_strategy = "no";
    Trainer(Model::from_config(dir / "config.json", options), a,
            {Dataset::from_file(rows, words), {}, tokenizer})
        .train();
    const auto saved = Tokenizer::from_pretrained(dir / name);
    EXPECT_EQ(saved->encode("Berlin is large").input_ids,
              tokenizer->encode_words({"Berlin", "is", "large"}).input_ids);
    EXPECT_EQ(saved->encode_words({"Berlin"}).input_ids, tokenizer->encode_words({"Berlin"}).input_ids);
    EXPECT_EQ(read_json(dir / name / "tokenizer_config.json").value("add_prefix_space", false), prefixes);
  }
}

}  // namespace
}  // namespace graft::train
