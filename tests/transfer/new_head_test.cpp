#include "transfer/new_head.h"

#include <cmath>

#include "models/registry.h"
#include "models/state.h"
#include "support/shared.h"

namespace graft::transfer {
namespace {

// A tiny encoder without a head for tokens, over the words a, b and c.
std::filesystem::path make_encoder(const test::TempDir& dir) {
  dir.write("m/config.json",
            R"({"model_type": "bert", "vocab_size": 8, "hidden_size": 8, "num_hidden_layers": 1,
"num_attention_heads": 2, "intermediate_size": 8, "max_position_embeddings": 16, "type_vocab_size": 2})");
  dir.write("m/vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\nc\n");
  dir.write("m/tokenizer_config.json", R"({"tokenizer_class": "BertTokenizer"})");
  ModelOptions bare;
  bare.task = models::kSentenceEmbedding.task;
  Model::from_config(dir / "m/config.json", bare).save_pretrained(dir / "m");
  return dir / "m";
}

TEST(NewHead, StartsFromTheFrequenciesOfTokens) {
  test::TempDir dir;
  const std::filesystem::path folder = make_encoder(dir);
  ModelOptions options;
  options.task = models::kMaskedLm.task;
  const Model model = Model::from_pretrained(folder, options);
  ASSERT_TRUE(has_new_head(model));
  start_from_frequencies(model, *Tokenizer::from_pretrained(folder), {dir.write("t.txt", "a a b\na\n")});
  const engine::ParameterStore& store = model.state().parameters;
  const engine::HostRead bias = store.read_value(*store.find("cls.predictions.bias"));
  const double total = 4 + 8;
  EXPECT_FLOAT_EQ(bias[5], static_cast<float>(std::log(4 / total)));
  EXPECT_FLOAT_EQ(bias[6], static_cast<float>(std::log(2 / total)));
  EXPECT_FLOAT_EQ(bias[7], static_cast<float>(std::log(1 / total)));
}

TEST(NewHead, ATrainedHeadStaysAsItIs) {
  test::TempDir dir;
  ModelOptions options;
  options.task = models::kMaskedLm.task;
  Model::from_pretrained(make_encoder(dir), options).save_pretrained(dir / "trained");
  const Model model = Model::from_pretrained(dir / "trained", options);
  EXPECT_FALSE(has_new_head(model));
  start_from_frequencies(model, *Tokenizer::from_pretrained(dir / "m"), {dir.write("t.txt", "a a b\na\n")});
  const engine::ParameterStore& store = model.state().parameters;
  EXPECT_EQ(store.read_value(*store.find("cls.predictions.bias"))[5], 0);
}

}  // namespace
}  // namespace graft::transfer
