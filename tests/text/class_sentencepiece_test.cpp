// Classes that are read from a sentencepiece model: their settings count beside a tokenizer.json too. The ids
// are those of transformers 5.24.0.
#include <gmock/gmock.h>

#include "base/json.h"
#include "graft/tokenizer.h"
#include "support/shared.h"

namespace graft {
namespace {

using testing::HasSubstr;
using Ids = std::vector<int32_t>;
namespace fs = std::filesystem;

// A copy of a small tokenizer with other settings, from its tokenizer.json or from its model file.
struct Copy {
  test::TempDir dir;
  Copy(const char* name, const Json& settings, bool json) {
    const fs::path from = test::fixture_path(std::string("data/tokenizers/") + name);
    for (const auto& entry : fs::directory_iterator(from))
      if (json || entry.path().filename() != "tokenizer.json") fs::copy(entry.path(), dir.path());
    fs::permissions(dir / "tokenizer_config.json", fs::perms::owner_write, fs::perm_options::add);
    Json config = read_json(from / "tokenizer_config.json");
    config.update(settings);
    write_json(dir / "tokenizer_config.json", config);
  }
  Ids ids(const std::string& text) const {
    return Tokenizer::from_pretrained(dir.path())->encode(text).input_ids;
  }
  std::string error() const {
    return test::error_of([&] { Tokenizer::from_pretrained(dir.path()); });
  }
};

TEST(SentencepieceClass, AddPrefixSpace) {
  const char* text = "Hello World, this is a Test.";
  for (const bool json : {true, false}) {
    const Copy plain("small-xlm-roberta", Json::object(), json);
    EXPECT_EQ(Copy("small-xlm-roberta", {{"add_prefix_space", true}}, json).ids(text), plain.ids(text))
        << json;
    // Release 4.57 writes null for a T5 that was made without it.
    EXPECT_EQ(Copy("small-xlm-roberta", {{"add_prefix_space", Json()}}, json).ids(text), plain.ids(text));
    EXPECT_EQ(Copy("small-t5", {{"add_prefix_space", Json()}}, json).ids(text),
              Copy("small-t5", Json::object(), json).ids(text));
    const Copy without("small-xlm-roberta", {{"add_prefix_space", false}}, json);
    EXPECT_EQ(without.ids(text),
              (Ids{0, 256, 31, 71, 42, 191, 42, 69, 41, 65, 8, 117, 13, 7, 13, 7, 38, 98, 31, 7, 6, 5, 2}))
        << json;
    const auto tokenizer = Tokenizer::from_pretrained(without.dir.path());
    EXPECT_EQ(tokenizer->decode(tokenizer->encode("Hello").input_ids), "Hello") << json;
    // T5's class has no such setting.
    EXPECT_EQ(Copy("small-t5", {{"add_prefix_space", false}}, json).ids(text),
              Copy("small-t5", Json::object(), json).ids(text))
        << json;
  }
}

TEST(SentencepieceClass, BeginAndEndOfText) {
  const auto ends = [](const Copy& copy) {
    const Ids ids = copy.ids("x y");
    return std::pair(ids.front(), ids.back());
  };
  for (const bool json : {true, false})
    EXPECT_EQ(ends(Copy("small-xlm-roberta", {{"bos_token", "a"}}, json)), std::pair(38, 2)) << json;
  EXPECT_EQ(ends(Copy("small-xlm-roberta", {{"bos_token", "<user>"}}, true)), std::pair(702, 2));
  EXPECT_EQ(ends(Copy("small-xlm-roberta", {{"eos_token", "<user>"}}, true)), std::pair(0, 702));
  EXPECT_EQ(Copy("small-t5", {{"eos_token", "<user>"}}, true).ids("x y").back(), 710);
  // The class uses bos_token and eos_token only, so that another cls_token has no effect.
  EXPECT_EQ(ends(Copy("small-xlm-roberta", {{"cls_token", "<user>"}}, false)), std::pair(0, 2));
  const Copy pairs("small-xlm-roberta", {{"eos_token", "<user>"}}, true);
  const Encoding pair = Tokenizer::from_pretrained(pairs.dir.path())->encode_pair("x", "y");
  EXPECT_EQ(std::count(pair.input_ids.begin(), pair.input_ids.end(), 702), 3);
  EXPECT_EQ(pair.token_type_ids, Ids(pair.input_ids.size(), 0));
}

// ALBERT's normalizer has a part for each of the two settings.
struct Albert {
  test::TempDir dir;
  int32_t id_of(const Json& normalizers, Json settings) const {
    settings["tokenizer_class"] = "AlbertTokenizer";
    const Json json = {{"added_tokens", Json::array()},
                       {"normalizer", {{"type", "Sequence"}, {"normalizers", normalizers}}},
                       {"pre_tokenizer", {{"type", "WhitespaceSplit"}}},
                       {"model",
                        {{"type", "WordLevel"},
                         {"unk_token", "<unk>"},
                         {"vocab", {{"<unk>", 0}, {"e", 1}, {"\u00e9", 2}, {"E", 3}, {"\u00c9", 4}}}}}};
    dir.write("tokenizer.json", json.dump());
    dir.write("tokenizer_config.json", settings.dump());
    return Tokenizer::from_pretrained(dir.path())->encode("\u00c9").input_ids.at(0);
  }
};

TEST(SentencepieceClass, AlbertsNormalizer) {
  const Albert albert;
  const auto block = [](const char* type) { return Json{{"type", type}}; };
  const Json all = Json::array({block("NFKD"), block("StripAccents"), block("Lowercase")});
  for (const Json& file : {all, Json::array()}) {
    SCOPED_TRACE(file.dump());
    EXPECT_EQ(albert.id_of(file, Json::object()), file.empty() ? 4 : 1);  // without settings: the file's
    EXPECT_EQ(albert.id_of(file, {{"keep_accents", false}, {"do_lower_case", true}}), 1);
    EXPECT_EQ(albert.id_of(file, {{"keep_accents", true}, {"do_lower_case", true}}), 2);
    EXPECT_EQ(albert.id_of(file, {{"keep_accents", false}, {"do_lower_case", false}}), 3);
    EXPECT_EQ(albert.id_of(file, {{"keep_accents", true}, {"do_lower_case", false}}), 4);
  }
}

TEST(SentencepieceClass, AlbertsEndSettingsAreRefusedWithoutATokenizerJson) {
  for (const char* name : {"add_bos_token", "add_eos_token"}) {
    const Copy copy("small-t5", {{"tokenizer_class", "AlbertTokenizer"}, {name, false}}, false);
    EXPECT_THAT(copy.error(), HasSubstr("are not implemented for an AlbertTokenizer"));
  }
}

}  // namespace
}  // namespace graft
