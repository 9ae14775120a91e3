// Embeddings of texts from a folder: the real checkpoint's, and settings on tiny models.
#include "graft/embedder.h"

#include "base/json.h"
#include "graft/error.h"
#include "models/model_case.h"
#include "train/tiny_run.h"

namespace graft {
namespace {

using namespace test;
using testing::HasSubstr;

TEST(RealEmbedder, EqualsTheReference) {
  GRAFT_REAL_CHECKPOINT(folder);
  GRAFT_SHARED_PATH(file, "golden/minilm/expected.json");
  const Json expected = read_json(file);
  std::vector<std::string> texts;
  for (const Json& one : expected["cases"]) texts.push_back(one["text"].get<std::string>());
  const Embedder embedder(folder);
  ASSERT_EQ(embedder.dimension(), 384);
  EXPECT_EQ(embedder.max_seq_length(), 256);
  const std::vector<float> got = embedder.embed(texts);
  for (size_t i = 0; i < texts.size(); ++i) {
    const std::vector<float> row(got.begin() + static_cast<std::ptrdiff_t>(i * 384),
                                 got.begin() + static_cast<std::ptrdiff_t>((i + 1) * 384));
    EXPECT_LE(largest_difference(row, expected["cases"][i]["embedding"].get<std::vector<float>>()), 2e-5)
        << texts[i];
  }
}

struct TinyEmbedder : testing::Test {
  TinyRun run;
  std::vector<std::string> texts;
  TinyEmbedder() {
    for (int i = 0; i < 70; ++i) {
      std::string text = "red";
      for (int k = 0; k < (i * 7) % 23; ++k) text += k % 3 ? " ba" : " up";
      texts.push_back(text + (i % 2 ? " green" : " blue"));
    }
  }
  std::filesystem::path save(const std::string& model_type = "bert",
                             const std::string& task = "sentence-embedding") {
    const auto folder = run / ("saved-" + model_type);
    run.model(task, {}, 0, model_type).save_pretrained(folder);
    run.tokenizer()->save(folder);
    return folder;
  }
};

TEST_F(TinyEmbedder, BitsDoNotDependOnTheBatchNorOnOtherTexts) {
  const auto folder = save();
  EmbedderOptions o;
  const std::vector<float> all = Embedder(folder, o).embed(texts);
  for (const int size : {1, 7, 1000}) {
    o.batch_size = size;
    EXPECT_TRUE(same_bits(Embedder(folder, o).embed(texts), all)) << size;
  }
  const std::vector<float> one = Embedder(folder).embed({texts[33]});
  EXPECT_TRUE(same_bits(one, {all.begin() + 33 * 32, all.begin() + 34 * 32}));
  EXPECT_TRUE(Embedder(folder).embed({}).empty());
}

// After some thousand tokens the weights are packed. No bit changes, whoever comes before or after.
TEST_F(TinyEmbedder, PackedWeightsChangeNoBit) {
  const auto folder = save();
  EmbedderOptions o;
  o.bf16 = false;
  const Embedder embedder(folder, o);
  const std::vector<float> before = embedder.embed(texts);
  int64_t tokens = 0;
  for (int round = 0; round < 9; ++round) {
    EXPECT_TRUE(same_bits(embedder.embed(texts), before)) << round;
    for (const std::string& text : texts) tokens += 3 + std::count(text.begin(), text.end(), ' ');
  }
  EXPECT_GT(tokens, 4096);
  EXPECT_TRUE(embedder.model().state().packed_fp32.load());
  EXPECT_FALSE(Embedder(folder, o).model().state().packed_fp32.load());
}

TEST_F(TinyEmbedder, EveryFamilyEmbedsAnyCheckpoint) {
  for (const char* type : {"bert", "roberta", "xlm-roberta", "camembert", "distilbert"}) {
    const Embedder bare(save(type));
    const std::vector<float> expected = bare.embed(texts);
    EXPECT_EQ(expected.size(), texts.size() * 32);
    // The head of a masked language model is not read.
    const Embedder with_head(save(type, "masked-lm"));
    EXPECT_EQ(with_head.embed(texts).size(), expected.size()) << type;
  }
}

TEST_F(TinyEmbedder, OptionsGoOverTheFolder) {
  const auto folder = save();
  EmbedderOptions o;
  o.normalize = true;
  const std::vector<float> unit = Embedder(folder, o).embed({texts[3]});
  EXPECT_NEAR(l2_norm(unit), 1, 1e-6);
  o.normalize.reset();
  o.pooling = "cls";
  EXPECT_FALSE(same_bits(Embedder(folder, o).embed({texts[3]}), Embedder(folder).embed({texts[3]})));
  o.pooling = "first";
  EXPECT_THAT(error_of([&] { Embedder e(folder, o); }),
              HasSubstr("pooling first is not known; there are: cls, max, mean"));
}

TEST_F(TinyEmbedder, TruncatedTextsAreCounted) {
  const auto folder = save();
  EmbedderOptions o;
  o.max_seq_length = 8;
  const Embedder embedder(folder, o);
  embedder.embed({"red", "red up ba ba up ba ba up ba ba green", "blue"});
  EXPECT_EQ(embedder.num_truncated(), 1);
  const auto equal = [&](const std::string& a, const std::string& b) {
    return same_bits(embedder.embed({a}), embedder.embed({b}));
  };
  EXPECT_TRUE(equal("red up ba ba up ba green", "red up ba ba up ba blue"));  // cut behind the sixth token
}

TEST_F(TinyEmbedder, PromptsStandBeforeTheText) {
  const auto folder = save();
  write_json(folder / "config_sentence_transformers.json",
             {{"prompts", {{"query", "up "}, {"passage", "down "}}}, {"default_prompt_name", "passage"}});
  const auto with = [&](EmbedderOptions o, const std::string& text) {
    return Embedder(folder, o).embed({text});
  };
  EmbedderOptions none, named, given;
  none.prompt = "";
  named.prompt_name = "query";
  given.prompt = "ba ";
  EXPECT_TRUE(same_bits(with({}, "red"), with(none, "down red")));
  EXPECT_TRUE(same_bits(with(named, "red"), with(none, "up red")));
  EXPECT_TRUE(same_bits(with(given, "red"), with(none, "ba red")));
  named.prompt_name = "title";
  EXPECT_THAT(error_of([&] { with(named, "red"); }),
              HasSubstr("the folder has no prompt title (it has: query, passage)"));
  write_json(folder / "1_Pooling" / "config.json",
             {{"word_embedding_dimension", 32}, {"include_prompt", false}});
  EXPECT_THAT(error_of([&] { with({}, "red"); }), HasSubstr("\"include_prompt\" is false"));
}

TEST_F(TinyEmbedder, ATextIsLowerCasedWhereTheFolderSaysSo) {
  const auto folder = save();
  run.dir().write("saved-bert/tokenizer_config.json",
                  R"({"tokenizer_class": "BertTokenizer", "do_lower_case": false, "model_max_length": 40})");
  std::filesystem::remove(folder / "tokenizer.json");
  const auto equal = [&] {
    return same_bits(Embedder(folder).embed({"RED Green"}), Embedder(folder).embed({"red green"}));
  };
  EXPECT_FALSE(equal());
  run.dir().write("saved-bert/sentence_bert_config.json", R"({"max_seq_length": 30, "do_lower_case": true})");
  EXPECT_TRUE(equal());
  EXPECT_EQ(Embedder(folder).max_seq_length(), 30);
}

TEST_F(TinyEmbedder, TheTransformerMayLieInASubfolder) {
  const auto flat = save();
  const auto old = run / "old";
  std::filesystem::create_directories(old / "0_Transformer");
  for (const char* name :
       {"config.json", "model.safetensors", "vocab.txt", "tokenizer_config.json", "tokenizer.json"})
    std::filesystem::copy_file(flat / name, old / "0_Transformer" / name);
  run.dir().write("old/modules.json", R"([{"type": "x.Transformer", "path": "0_Transformer"},
    {"type": "x.Pooling", "path": "1_Pooling"}, {"type": "x.Normalize", "path": "2_Normalize"}])");
  run.dir().write("old/1_Pooling/config.json",
                  R"({"word_embedding_dimension": 32, "pooling_mode_cls_token": true})");
  EmbedderOptions o;
  o.pooling = "cls";
  o.normalize = true;
  EXPECT_TRUE(same_bits(Embedder(old / "0_Transformer").embed(texts), Embedder(flat, o).embed(texts)));
}

}  // namespace
}  // namespace graft
