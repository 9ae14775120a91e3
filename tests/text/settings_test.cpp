// Special tokens, classes and settings that the small files of a folder give.
#include <gmock/gmock.h>

#include <fmt/format.h>

#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "graft/tokenizer.h"
#include "support/shared.h"

namespace graft {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using Ids = std::vector<int32_t>;
using Offsets = std::vector<std::pair<int32_t, int32_t>>;

// A folder with a small vocab.txt; ids are the places in the list.
struct Folder {
  test::TempDir dir;
  Folder() {
    dir.write("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nhi\nbob\n<\nuser\n>\n<user>\nent\n");
  }
  void write(const std::string& name, const std::string& content) const { dir.write(name, content); }
  std::shared_ptr<Tokenizer> load() const { return Tokenizer::from_pretrained(dir.path()); }
  Ids ids(const std::string& text) const { return ids(*load(), text); }
  static Ids ids(const Tokenizer& tokenizer, const std::string& text) {
    EncodeOptions plain;
    plain.add_special_tokens = false;
    return tokenizer.encode(text, plain).input_ids;
  }
  // The same tokenizer from a tokenizer.json, which stays the only file of the vocabulary.
  void use_tokenizer_json() const {
    const test::TempDir saved;
    load()->save(saved.path());
    write("tokenizer.json", read_file(saved / "tokenizer.json"));
    std::filesystem::remove(dir / "vocab.txt");
  }
  std::string error() const {
    return test::error_of([&] { load(); });
  }
};

const Ids kUserIsOneToken = {5, 10, 6};
const Ids kUserIsThree = {5, 7, 8, 9, 6};

TEST(SpecialTokens, AdditionalOnesAreAddedFromEachFile) {
  const std::pair<const char*, const char*> files[] = {
      {"special_tokens_map.json", R"({"additional_special_tokens": ["<user>"]})"},
      {"special_tokens_map.json",
       R"({"additional_special_tokens": [{"content": "<user>", "lstrip": false}]})"},
      {"special_tokens_map.json", R"({"extra_special_tokens": ["<user>"]})"},
      {"tokenizer_config.json", R"({"additional_special_tokens": ["<user>"]})"},
      {"tokenizer_config.json", R"({"extra_special_tokens": ["<user>"]})"},
      {"tokenizer_config.json", R"({"extra_special_tokens": {"user_token": "<user>"}})"},
      {"tokenizer_config.json", R"({"user_token": "<user>"})"},
      {"tokenizer_config.json",
       R"({"added_tokens_decoder": {"10": {"content": "<user>", "special": true}}})"},
      {"added_tokens.json", R"({"<user>": 10})"},
  };
  for (const bool json : {false, true})
    for (const auto& [name, content] : files) {
      SCOPED_TRACE(std::string(json ? "tokenizer.json, " : "vocab.txt, ") + name + " " + content);
      const Folder folder;
      if (json) folder.use_tokenizer_json();
      EXPECT_EQ(folder.ids("hi <user> Bob"), kUserIsThree);
      folder.write(name, content);
      const auto tokenizer = folder.load();
      EXPECT_EQ(Folder::ids(*tokenizer, "hi <user> Bob"), kUserIsOneToken);
      EXPECT_EQ(tokenizer->is_special(10), std::string(name) != "added_tokens.json");
      EXPECT_EQ(tokenizer->vocab_size(), 12);
      const test::TempDir saved;
      tokenizer->save(saved.path());
      EXPECT_EQ(Folder::ids(*Tokenizer::from_pretrained(saved.path()), "hi <user> Bob"), kUserIsOneToken);
    }
}

TEST(SpecialTokens, OneThatTheVocabularyLacksGetsTheNextFreeId) {
  const Folder folder;
  folder.write("special_tokens_map.json",
               R"({"mask_token": "<m>", "additional_special_tokens": ["<a>", "<b>"]})");
  const auto tokenizer = folder.load();
  EXPECT_EQ(Folder::ids(*tokenizer, "hi<a><m><b>"), (Ids{5, 13, 12, 14}));
  EXPECT_EQ(tokenizer->special_id("mask_token"), 12);
  EXPECT_EQ(tokenizer->vocab_size(), 15);
  const std::string message = test::error_of([&] { tokenizer->check_embedding(13); });
  EXPECT_THAT(message, AllOf(HasSubstr("id 13"), HasSubstr("13 rows"), HasSubstr("<a>"), HasSubstr("<b>"),
                             HasSubstr("special_tokens_map.json"), testing::Not(HasSubstr("<m>"))));
  EXPECT_EQ(tokenizer->token_source(12), "special_tokens_map.json");
  EXPECT_EQ(tokenizer->token_source(5), "vocab.txt");
  EXPECT_EQ(tokenizer->token_source(99), "");
}

TEST(VocabTxt, SpacesAtTheEndOfALineAreNoPartOfTheToken) {
  const Folder folder;
  const Ids want = folder.ids("hi <user> bob");
  std::string lines = read_file(folder.dir / "vocab.txt");
  for (const char* end : {" \n", "\t\n", " \r\n"}) {
    std::string text;
    for (const char c : lines) text += c == '\n' ? std::string(end) : std::string(1, c);
    folder.write("vocab.txt", text);
    EXPECT_EQ(folder.ids("hi <user> bob"), want) << end;
  }
  // A token that is a space stays one.
  folder.write("vocab.txt", lines + " \n");
  EXPECT_EQ(folder.load()->token_to_id(" "), 12);
}

TEST(SpecialTokens, FlagsOfAnObjectCount) {
  const Folder folder;
  folder.write("special_tokens_map.json",
               R"({"mask_token": {"content": "[MASK]", "lstrip": true, "normalized": false},
                   "additional_special_tokens": [{"content": "<user>", "single_word": true, "rstrip": true}]})");
  const auto tokenizer = folder.load();
  EXPECT_EQ(tokenizer->encode("hi  [MASK] bob").offsets,
            (Offsets{{0, 0}, {0, 2}, {2, 10}, {11, 14}, {0, 0}}));
  EXPECT_EQ(Folder::ids(*tokenizer, "hi<user>"), (Ids{5, 7, 8, 9}));
  EXPECT_EQ(tokenizer->encode("hi <user>  bob").offsets,
            (Offsets{{0, 0}, {0, 2}, {3, 11}, {11, 14}, {0, 0}}));
}

TEST(SpecialTokens, RolesInEachPlace) {
  for (const char* name : {"tokenizer_config.json", "special_tokens_map.json"}) {
    const Folder folder;
    folder.write(name, R"({"cls_token": "hi", "sep_token": {"content": "bob"}, "mask_token": "ent"})");
    const auto tokenizer = folder.load();
    EXPECT_EQ(tokenizer->encode("<").input_ids, (Ids{5, 7, 6})) << name;
    EXPECT_EQ(tokenizer->special_id("mask_token"), 11) << name;
    EXPECT_TRUE(tokenizer->is_special(11)) << name;
    EXPECT_EQ(Folder::ids(*tokenizer, "<ent>"), (Ids{7, 11, 9})) << name;
  }
}

TEST(SpecialTokens, BertsKinBuildTheTemplateFromThem) {
  const Folder folder;
  folder.use_tokenizer_json();
  folder.write("tokenizer_config.json",
               R"({"tokenizer_class": "BertTokenizer", "cls_token": "hi", "sep_token": "<new>"})");
  EXPECT_EQ(folder.load()->encode("bob").input_ids, (Ids{5, 6, 12}));
  folder.write("tokenizer_config.json",
               R"({"tokenizer_class": "PreTrainedTokenizerFast", "cls_token": "hi"})");
  EXPECT_EQ(folder.load()->encode("bob").input_ids, (Ids{2, 6, 3}));
}

TEST(SpecialTokens, TheMapGoesOverTheSettingsButNotBesideADecoder) {
  const Folder folder;
  folder.write("tokenizer_config.json", R"({"mask_token": "hi"})");
  folder.write("special_tokens_map.json", R"({"mask_token": "ent"})");
  EXPECT_EQ(folder.load()->special_id("mask_token"), 11);
  folder.write("tokenizer_config.json", R"({"mask_token": "hi", "added_tokens_decoder": {}})");
  folder.write("special_tokens_map.json", R"({"additional_special_tokens": ["<user>"]})");
  folder.write("added_tokens.json", R"({"<x>": 12})");
  std::string warnings;
  const LogSink before = set_log_sink([&](LogLevel, const std::string& text) { warnings += text; });
  const auto tokenizer = folder.load();
  set_log_sink(before);
  EXPECT_EQ(tokenizer->special_id("mask_token"), 5);
  EXPECT_EQ(Folder::ids(*tokenizer, "hi <user> Bob"), kUserIsThree);
  EXPECT_THAT(warnings,
              AllOf(HasSubstr("added_tokens_decoder"), HasSubstr("\"<user>\" (special_tokens_map.json)"),
                    HasSubstr("\"<x>\" (added_tokens.json)")));
}

TEST(SpecialTokens, SplitSpecialTokensReadsThemAsText) {
  const Folder folder;
  folder.write("tokenizer_config.json",
               R"({"extra_special_tokens": ["<user>"], "split_special_tokens": true})");
  EXPECT_EQ(folder.ids("hi <user> Bob"), kUserIsThree);
}

TEST(SpecialTokens, XlmRobertaAndRoberta) {
  const std::pair<const char*, std::vector<std::string>> families[] = {
      {"small-xlm-roberta", {"sentencepiece.bpe.model", "config.json"}},
      {"small-xlm-roberta", {"tokenizer.json", "config.json"}},
      {"small-roberta", {"vocab.json", "merges.txt", "config.json"}},
      {"small-roberta", {"tokenizer.json", "config.json"}},
      {"small-t5", {"spiece.model", "config.json"}},
      {"albert-base-v2", {"spiece.model", "config.json"}},
  };
  for (const auto& [family, names] : families) {
    const auto folder = test::fixture_path(std::string("data/tokenizers/") + family);
    if (!std::filesystem::exists(folder)) continue;
    const test::TempDir copy;
    for (const std::string& name : names) std::filesystem::copy_file(folder / name, copy / name);
    const int32_t size = Tokenizer::from_pretrained(copy.path())->vocab_size();
    copy.write("special_tokens_map.json", R"({"additional_special_tokens": ["<ent>"]})");
    const auto tokenizer = Tokenizer::from_pretrained(copy.path());
    const Encoding e = tokenizer->encode("a <ent> b");
    EXPECT_EQ(std::count(e.input_ids.begin(), e.input_ids.end(), size), 1) << family << " " << names[0];
    EXPECT_EQ(tokenizer->id_to_token(size), "<ent>");
    EXPECT_TRUE(tokenizer->is_special(size));
  }
}

TEST(SpecialTokens, WhatIsNotATokenIsAnError) {
  const std::tuple<const char*, const char*, const char*> cases[] = {
      {"special_tokens_map.json", R"({"additional_special_tokens": "<user>"})",
       "\"additional_special_tokens\" must be a list"},
      {"special_tokens_map.json", R"({"additional_special_tokens": [7]})",
       "\"additional_special_tokens\" must be a string"},
      {"tokenizer_config.json", R"({"cls_token": 7})", "\"cls_token\" must be a string or an object"},
      {"tokenizer_config.json", R"({"mask_token": {"content": "[MASK]", "lstrip": "yes"}})",
       "\"lstrip\" of the token"},
      {"tokenizer_config.json", R"({"added_tokens_decoder": []})",
       "\"added_tokens_decoder\" must be an object"},
      {"tokenizer_config.json", R"({"added_tokens_decoder": {"x": {"content": "a"}}})",
       "\"x\" is not a token's id"},
      {"added_tokens.json", R"({"<x>": "12"})", "the id of \"<x>\" must be an integer"},
      {"added_tokens.json", R"({"<x>": 1e300})", "the id of \"<x>\" must be an integer"},
  };
  for (const auto& [name, content, message] : cases) {
    const Folder folder;
    folder.write(name, content);
    EXPECT_THAT(folder.error(), AllOf(HasSubstr(folder.dir / name), HasSubstr(message))) << content;
  }
}

TEST(Settings, OfAnotherTypeAreErrors) {
  const std::pair<const char*, const char*> cases[] = {
      {R"("do_lower_case": "false")", "must be true or false, not \"false\""},
      {R"("do_lower_case": 0)", "must be true or false, not 0"},
      {R"("do_lower_case": null)", "must be true or false, not null"},
      {R"("strip_accents": "true")", "must be true, false or null"},
      {R"("tokenize_chinese_chars": "no")", "must be true or false"},
      {R"("add_prefix_space": 1)", "must be true, false or null"},
      {R"("trim_offsets": "x")", "must be true or false"},
      {R"("clean_up_tokenization_spaces": "true")", "must be true, false or null"},
      {R"("split_special_tokens": 1)", "must be true, false or null"},
      {R"("model_max_length": "512")", "must be a whole number from 1 on, or null"},
      {R"("model_max_length": -1)", "must be a whole number"},
      {R"("model_max_length": 2.5)", "must be a whole number"},
      {R"("padding_side": "both")", "must be \"left\" or \"right\""},
      {R"("truncation_side": true)", "must be \"left\" or \"right\""},
      {R"("extra_ids": 1e9)", "must be an integer from 0"},
      {R"("tokenizer_class": ["BertTokenizer"])", "must be a string or null"},
  };
  for (const auto& [setting, message] : cases) {
    const Folder folder;
    folder.write("tokenizer_config.json", std::string("{") + setting + "}");
    const std::string key = std::string(setting).substr(0, std::string(setting).find(':'));
    EXPECT_THAT(folder.error(),
                AllOf(HasSubstr(folder.dir / "tokenizer_config.json"), HasSubstr(key), HasSubstr(message)));
  }
  const Folder folder;
  folder.write("config.json", R"({"tokenizer_class": 7})");
  EXPECT_THAT(folder.error(), AllOf(HasSubstr("config.json"), HasSubstr("\"tokenizer_class\"")));
}

TEST(Settings, LargeLengthsAreNoLimit) {
  const Folder folder;
  for (const char* length : {"1000000000000000019884624838656", "1e30", "1e300", "null"}) {
    folder.write("tokenizer_config.json", std::string(R"({"model_max_length": )") + length + "}");
    EXPECT_EQ(folder.load()->model_max_length(), 0) << length;
  }
  folder.write("tokenizer_config.json", R"({"model_max_length": 512.0})");
  EXPECT_EQ(folder.load()->model_max_length(), 512);
}

TEST(TokenizerClass, OneThatNeedsPythonIsRefusedByName) {
  for (const bool json : {false, true})
    for (const char* file : {"tokenizer_config.json", "config.json"})
      for (const char* name : {"BertJapaneseTokenizer", "BertweetTokenizer", "PhobertTokenizer"}) {
        const Folder folder;
        if (json) folder.use_tokenizer_json();
        folder.write(file, std::string(R"({"tokenizer_class": ")") + name + R"("})");
        EXPECT_THAT(folder.error(),
                    AllOf(HasSubstr(folder.dir / file), HasSubstr(name), HasSubstr("not implemented")));
      }
}

TEST(TokenizerClass, TokensAddedAtTheEndsOfVocabJsonAreRefused) {
  for (const char* key : {"add_bos_token", "add_eos_token"}) {
    test::TempDir folder;
    folder.write("vocab.json", R"({"a": 0, "b": 1, "<|endoftext|>": 2})");
    folder.write("merges.txt", "#version: 0.2\n");
    const auto load = [&](const char* value) {
      folder.write("tokenizer_config.json",
                   fmt::format(R"({{"tokenizer_class": "GPT2Tokenizer", "{}": {}}})", key, value));
      return Tokenizer::from_pretrained(folder.path());
    };
    EXPECT_EQ(load("false")->encode("ab").input_ids.size(), 2u);
    EXPECT_THAT(test::error_of([&] { load("true"); }),
                testing::AllOf(testing::HasSubstr(key), testing::HasSubstr(folder.path().string()),
                               testing::HasSubstr("tokenizer.json")));
  }
}

TEST(TokenizerClass, OneThatContradictsTheFilesIsRefused) {
  for (const char* name :
       {"RobertaTokenizer", "RobertaTokenizerFast", "DebertaV2Tokenizer", "GPT2Tokenizer"}) {
    const Folder folder;
    folder.write("tokenizer_config.json", std::string(R"({"tokenizer_class": ")") + name + R"("})");
    EXPECT_THAT(folder.error(), AllOf(HasSubstr(std::string(name).substr(0, 4)),
                                      HasSubstr("but the folder has a vocab.txt")));
  }
  for (const char* name :
       {"MyTokenizer", "FunnelTokenizer", "PreTrainedTokenizerFast", "TokenizersBackend"}) {
    const Folder folder;
    folder.write("tokenizer_config.json", std::string(R"({"tokenizer_class": ")") + name + R"("})");
    EXPECT_THAT(folder.error(), AllOf(HasSubstr(name), HasSubstr("tokenizer.json")));
  }
}

TEST(TokenizerClass, AnyFastOneReadsATokenizerJson) {
  for (const char* name :
       {"BertTokenizer", "BertTokenizerFast", "PreTrainedTokenizerFast", "TokenizersBackend",
        "LayoutLMv3TokenizerFast", "CamembertTokenizer", "MyTokenizer"}) {
    const Folder folder;
    folder.use_tokenizer_json();
    folder.write("tokenizer_config.json", std::string(R"({"tokenizer_class": ")") + name + R"("})");
    EXPECT_EQ(folder.ids("hi Bob"), (Ids{5, 6})) << name;
  }
  const Folder folder;
  folder.use_tokenizer_json();
  folder.write(
      "tokenizer_config.json",
      R"({"tokenizer_class": "MyTokenizer", "auto_map": {"AutoTokenizer": ["my.MyTokenizer", null]}})");
  EXPECT_THAT(folder.error(), AllOf(HasSubstr("MyTokenizer"), HasSubstr("own Python code")));
}

TEST(TokenizerClass, BertsKinOverATokenizerJson) {
  const Folder folder;
  folder.use_tokenizer_json();
  folder.write("tokenizer_config.json", R"({"tokenizer_class": "BertTokenizer", "do_lower_case": false})");
  EXPECT_EQ(folder.ids("hi Bob"), (Ids{5, 1}));
  folder.write("tokenizer_config.json",
               R"({"tokenizer_class": "PreTrainedTokenizerFast", "do_lower_case": false})");
  EXPECT_EQ(folder.ids("hi Bob"), (Ids{5, 6}));  // takes the file as it is, as in the reference
}

class PrefixSpace : public testing::Test {
 protected:
  // A RoBERTa with these settings, from tokenizer.json or from its legacy files.
  std::shared_ptr<Tokenizer> roberta(const std::string& settings, bool json) {
    const auto folder = test::fixture_path("data/tokenizers/small-roberta");
    for (const char* name : {"tokenizer.json", "vocab.json", "merges.txt"})
      if ((std::string(name) == "tokenizer.json") == json)
        std::filesystem::copy_file(folder / name, copy_ / name,
                                   std::filesystem::copy_options::overwrite_existing);
    copy_.write("tokenizer_config.json", settings);
    return Tokenizer::from_pretrained(copy_.path());
  }
  test::TempDir copy_;
};

TEST_F(PrefixSpace, IsForThePostProcessorToo) {
  for (const bool json : {false, true}) {
    for (const char* settings : {R"({"add_prefix_space": true})",
                                 R"({"add_prefix_space": true, "tokenizer_class": "RobertaTokenizer"})"}) {
      const auto tokenizer = roberta(settings, json);
      const Encoding e = tokenizer->encode("a <mask> b");
      EXPECT_EQ(e.offsets, (Offsets{{0, 0}, {0, 1}, {2, 8}, {9, 10}, {0, 0}})) << json << settings;
      EXPECT_EQ(e.input_ids[1], tokenizer->token_to_id("\u0120a")) << json << settings;
      // A single space before the first token counts as the one put in front; two do not.
      EXPECT_EQ(roberta(settings, json)->encode(" <mask>").offsets[1], (Offsets::value_type(0, 7)));
      EXPECT_EQ(roberta(settings, json)->encode("  <mask>").offsets[1], (Offsets::value_type(2, 8)));
    }
    EXPECT_EQ(roberta(R"({"trim_offsets": false})", json)->encode("a b").offsets,
              (Offsets{{0, 0}, {0, 1}, {1, 3}, {0, 0}}))
        << json;
    EXPECT_EQ(roberta("{}", json)->encode("a b").offsets, (Offsets{{0, 0}, {0, 1}, {2, 3}, {0, 0}})) << json;
  }
}

}  // namespace
}  // namespace graft
