// Folders of sentence-transformers: what is read, under every spelling that its releases wrote.
#include "hub/sentence_transformers.h"

#include "hub/resolve.h"
#include "support/shared.h"

namespace graft::hub {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr const char* kModules = R"([
  {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
  {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
  {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"}])";
constexpr const char* kMean = R"({"word_embedding_dimension": 384, "pooling_mode_cls_token": false,
  "pooling_mode_mean_tokens": true, "pooling_mode_max_tokens": false})";

struct SentenceTransformers : testing::Test {
  test::TempDir folder;
  SentenceTransformers() {
    folder.write("modules.json", kModules);
    folder.write("1_Pooling/config.json", kMean);
    folder.write("sentence_bert_config.json", R"({"max_seq_length": 256, "do_lower_case": false})");
  }
  SentenceTransformer read() const { return *read_sentence_transformer(folder.path()); }
  std::string error() const {
    return test::error_of([&] { read_sentence_transformer(folder.path()); });
  }
};

TEST_F(SentenceTransformers, AllOfIt) {
  const SentenceTransformer st = read();
  EXPECT_EQ(st.transformer_path, "");
  EXPECT_THAT(st.pooling, ElementsAre(Pooling::mean));
  EXPECT_EQ(st.embedding_dimension, 384);
  EXPECT_TRUE(st.normalize);
  EXPECT_EQ(st.max_seq_length, 256);
  EXPECT_TRUE(st.other_modules.empty());
}

TEST_F(SentenceTransformers, APlainFolderIsNone) {
  EXPECT_FALSE(read_sentence_transformer(test::TempDir().path()).has_value());
}

TEST_F(SentenceTransformers, PoolingOfOldAndNewReleases) {
  folder.write("1_Pooling/config.json", R"({"word_embedding_dimension": 8, "pooling_mode_cls_token": true})");
  EXPECT_THAT(read().pooling, ElementsAre(Pooling::cls));
  folder.write(
      "1_Pooling/config.json",
      R"({"word_embedding_dimension": 8, "pooling_mode_mean_tokens": true, "pooling_mode_max_tokens": true})");
  EXPECT_THAT(read().pooling, ElementsAre(Pooling::max, Pooling::mean));
  folder.write("1_Pooling/config.json",
               R"({"embedding_dimension": 16, "pooling_mode": "lasttoken", "include_prompt": true})");
  EXPECT_THAT(read().pooling, ElementsAre(Pooling::lasttoken));
  EXPECT_EQ(read().embedding_dimension, 16);
  folder.write("1_Pooling/config.json", R"({"embedding_dimension": 16, "pooling_mode": ["cls", "mean"]})");
  EXPECT_THAT(read().pooling, ElementsAre(Pooling::cls, Pooling::mean));
  folder.write("1_Pooling/config.json", R"({"embedding_dimension": 16})");
  EXPECT_THAT(read().pooling, ElementsAre(Pooling::mean));
}

TEST_F(SentenceTransformers, BothStylesOfPathsAndTypes) {
  folder.write("modules.json", R"([
    {"idx": 0, "name": "0", "path": "0_Transformer", "type": "sentence_transformers.base.modules.transformer.Transformer"},
    {"idx": 1, "name": "1", "path": "./1_Pooling/", "type": "sentence_transformers.sentence_transformer.modules.pooling.Pooling"},
    {"idx": 2, "name": "2", "path": "2_LSTM", "type": "sentence_transformers.models.LSTM"}])");
  std::filesystem::remove(folder / "sentence_bert_config.json");
  folder.write("0_Transformer/sentence_roberta_config.json", R"({"max_seq_length": 128})");
  const SentenceTransformer st = read();
  EXPECT_EQ(st.transformer_path, "0_Transformer");
  EXPECT_THAT(st.pooling, ElementsAre(Pooling::mean));
  EXPECT_FALSE(st.normalize);
  EXPECT_EQ(st.max_seq_length, 128);
  EXPECT_THAT(st.other_modules, ElementsAre("LSTM"));
  // The checkpoint is where its config.json is.
  EXPECT_EQ(resolve_model(folder.path().string()), folder / "0_Transformer");
  folder.write("config.json", "{}");
  EXPECT_EQ(resolve_model(folder.path().string()), folder.path());
}

TEST_F(SentenceTransformers, WhatIsWrongIsNamed) {
  folder.write("1_Pooling/config.json", R"({"pooling_mode": "median"})");
  EXPECT_THAT(error(), testing::AllOf(HasSubstr("1_Pooling/config.json"), HasSubstr("\"median\""),
                                      HasSubstr("lasttoken")));
  folder.write("1_Pooling/config.json", R"({"pooling_mode_mean_tokens": "yes"})");
  EXPECT_THAT(error(), HasSubstr("\"pooling_mode_mean_tokens\" must be true or false, not \"yes\""));
  folder.write("1_Pooling/config.json",
               R"({"pooling_mode_mean_tokens": false, "pooling_mode_cls_token": false})");
  EXPECT_THAT(error(), HasSubstr("names no pooling"));
  folder.write("1_Pooling/config.json", R"({"pooling_mode": "cls", "pooling_mode_mean_tokens": true})");
  EXPECT_THAT(error(), HasSubstr("\"pooling_mode_mean_tokens\" is true, but \"pooling_mode\" is \"cls\""));
  folder.write("1_Pooling/config.json", R"({"pooling_mode_mean_tokens": true, "pooling_mode_banana": true})");
  EXPECT_THAT(error(), HasSubstr("\"pooling_mode_banana\" is not implemented"));
  folder.write("1_Pooling/config.json", R"({"word_embedding_dimension": -3})");
  EXPECT_THAT(error(), HasSubstr("\"word_embedding_dimension\" must be a positive whole number, not -3"));
  folder.write("1_Pooling/config.json", "[]");
  EXPECT_THAT(error(), HasSubstr("must hold an object, not array"));
  std::filesystem::remove(folder / "1_Pooling/config.json");
  EXPECT_THAT(error(), HasSubstr("1_Pooling/config.json: is missing, but modules.json lists it"));
  folder.write("1_Pooling/config.json", kMean);
  folder.write("sentence_bert_config.json", R"({"max_seq_length": 1e300})");
  EXPECT_THAT(error(), HasSubstr("\"max_seq_length\" must be a positive whole number"));
  folder.write("modules.json",
               R"([{"type": "x.Pooling", "path": "1_Pooling"}, {"type": "x.Transformer", "path": ""}])");
  EXPECT_THAT(error(), HasSubstr("the module Transformer follows another module"));
  folder.write("modules.json", R"([{"type": "x.Pooling", "path": "../../etc"}])");
  EXPECT_THAT(error(), HasSubstr("leads out of the folder"));
  folder.write("modules.json", R"([{"type": "x.Pooling", "path": "/etc"}])");
  EXPECT_THAT(error(), HasSubstr("leads out of the folder"));
  folder.write("modules.json", R"([{"path": ""}])");
  EXPECT_THAT(error(), HasSubstr("a module without a \"type\""));
  folder.write("modules.json", R"({"a": 1})");
  EXPECT_THAT(error(), HasSubstr("must hold a list of modules"));
}

TEST_F(SentenceTransformers, SettingsThatContradictTheModelAreNamed) {
  const DescribedModel fits{folder / "config.json", 384, 512};
  EXPECT_THAT(contradictions(read(), fits), ElementsAre());
  DescribedModel other = fits;
  other.hidden_size = 128;
  EXPECT_THAT(contradictions(read(), other),
              ElementsAre(testing::AllOf(HasSubstr("1_Pooling/config.json"), HasSubstr("384"),
                                         HasSubstr((folder / "config.json").string()), HasSubstr("128"))));
  other = fits;
  other.max_positions = 128;
  EXPECT_THAT(contradictions(read(), other),
              ElementsAre(testing::AllOf(HasSubstr("sentence_bert_config.json: \"max_seq_length\" is 256"),
                                         HasSubstr("128 positions"))));
  folder.write("sentence_bert_config.json", R"({"do_lower_case": "true"})");
  EXPECT_THAT(error(), HasSubstr("\"do_lower_case\" must be true or false, not \"true\""));
}

TEST_F(SentenceTransformers, APoolingBehindAnotherModuleHasItsOwnSize) {
  folder.write("modules.json", R"([
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_CNN", "type": "sentence_transformers.models.CNN"},
    {"idx": 2, "name": "2", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}])");
  EXPECT_THAT(contradictions(read(), {folder / "config.json", 128, 512}), ElementsAre());
}

TEST(SentenceTransformersFiles, ByName) {
  for (const char* name : {"modules.json", "1_Pooling", "2_Normalize", "10_Dense",
                           "sentence_bert_config.json", "config_sentence_transformers.json"})
    EXPECT_TRUE(is_sentence_transformers_file(name)) << name;
  for (const char* name :
       {"config.json", "1_notes", "Pooling", "_Pooling", "checkpoint-1", "2024_Pooling.txt", "12"})
    EXPECT_FALSE(is_sentence_transformers_file(name)) << name;
}

}  // namespace
}  // namespace graft::hub
