// Files and texts that are wrong: what the message says.
#include "base/log.h"
#include "support/shared.h"
#include "text/normalizer.h"
#include "text/support_json.h"

namespace graft::text {
namespace {

using testing::HasSubstr;

std::string error_of_json(const std::string& text) {
  return test::error_of([&] { tokenizer_from_json(text, "bad.json"); });
}

TEST(BadTokenizerJson, IsNotJson) {
  EXPECT_THAT(error_of_json("{\"model\": nonsense}"),
              testing::AllOf(HasSubstr("bad.json"), HasSubstr("line 1")));
  EXPECT_THAT(error_of_json("{\"model\": 1e999}"), HasSubstr("number overflow"));
  EXPECT_THAT(error_of_json("[]"), HasSubstr("must hold an object"));
  EXPECT_THAT(error_of_json("{}"), HasSubstr("no \"model\""));
  const std::string whole = SmallTokenizer().json();
  for (size_t size = 0; size < whole.size(); size += 7)
    EXPECT_THAT(error_of_json(whole.substr(0, size)), HasSubstr("bad.json")) << size;
}

TEST(BadTokenizerJson, UnknownComponentsAreNamed) {
  const auto with = [](std::string SmallTokenizer::*block, const std::string& value) {
    SmallTokenizer t;
    t.*block = value;
    return error_of_json(t.json());
  };
  EXPECT_THAT(with(&SmallTokenizer::normalizer, R"({"type":"NFX"})"),
              HasSubstr("unknown normalizer type \"NFX\""));
  EXPECT_THAT(with(&SmallTokenizer::pre_tokenizer, R"({"type":"WhitespaceSplt"})"),
              HasSubstr("did you mean WhitespaceSplit?"));
  EXPECT_THAT(with(&SmallTokenizer::post_processor, R"({"type":"Foo"})"),
              HasSubstr("unknown post_processor type"));
  EXPECT_THAT(with(&SmallTokenizer::decoder, R"({"type":"Foo"})"), HasSubstr("unknown decoder type"));
  EXPECT_THAT(with(&SmallTokenizer::model, R"({"type":"Foo","vocab":{}})"), HasSubstr("unknown model type"));
  EXPECT_THAT(with(&SmallTokenizer::normalizer, R"({"type":"Replace","content":"a"})"),
              HasSubstr("\"pattern\" is missing"));
  EXPECT_THAT(with(&SmallTokenizer::normalizer, R"({"type":"Prepend","prepend":3})"),
              HasSubstr("must be a string"));
  EXPECT_THAT(with(&SmallTokenizer::pre_tokenizer,
                   R"({"type":"Split","pattern":{"Regex":"(a"},"behavior":"Isolated"})"),
              HasSubstr("does not compile"));
  EXPECT_THAT(
      with(&SmallTokenizer::pre_tokenizer, R"({"type":"Split","pattern":{"String":"a"},"behavior":"Foo"})"),
      HasSubstr("unknown behavior"));
}

TEST(BadTokenizerJson, VocabulariesThatDoNotHold) {
  const auto with = [](const std::string& model) {
    SmallTokenizer t;
    t.model = model;
    return error_of_json(t.json());
  };
  EXPECT_THAT(with(R"({"type":"BPE","vocab":{"a":0,"b":1},"merges":["a c"]})"),
              testing::AllOf(HasSubstr("merge 1"), HasSubstr("\"c\""), HasSubstr("not in the vocabulary")));
  EXPECT_THAT(with(R"({"type":"BPE","vocab":{"a":0,"b":1},"merges":["a b"]})"), HasSubstr("\"ab\""));
  EXPECT_THAT(with(R"({"type":"BPE","vocab":{"a":0,"b":1},"merges":["a b c"]})"),
              HasSubstr("one space between"));
  EXPECT_THAT(with(R"({"type":"WordPiece","unk_token":"a","vocab":{"a":0,"b":0}})"),
              HasSubstr("id 0 is given to two tokens, \"a\" and \"b\""));
  EXPECT_THAT(with(R"({"type":"WordPiece","vocab":{"a":0}})"), HasSubstr("unknown token \"[UNK]\""));
  EXPECT_THAT(with(R"({"type":"WordLevel","vocab":{"a":-1}})"), HasSubstr("must be an integer from 0"));
  EXPECT_THAT(with(R"({"type":"WordLevel","vocab":{"a":1.5}})"), HasSubstr("must be an integer from 0"));
  EXPECT_THAT(with(R"({"type":"WordLevel","vocab":{"a":99999999999}})"),
              HasSubstr("must be an integer from 0"));
  EXPECT_THAT(with(R"({"type":"WordLevel","vocab":{}})"), HasSubstr("empty"));
  EXPECT_THAT(with(R"({"type":"Unigram","unk_id":7,"vocab":[["a",0]]})"), HasSubstr("unk_id 7"));
  EXPECT_THAT(with(R"({"type":"Unigram","unk_id":0,"vocab":[["a"]]})"), HasSubstr("entry 0"));
}

TEST(BadTokenizerJson, HolesInTheIdsAreReported) {
  std::vector<std::string> said;
  const LogSink old = set_log_sink([&](LogLevel, const std::string& text) { said.push_back(text); });
  SmallTokenizer t;
  t.model = R"({"type":"WordLevel","vocab":{"a":0,"[UNK]":3},"unk_token":"[UNK]"})";
  const auto tokenizer = t.make();
  set_log_sink(old);
  ASSERT_EQ(said.size(), 1u);
  EXPECT_THAT(said[0], HasSubstr("2 of the ids below 4 have no token"));
  EXPECT_EQ(tokenizer->id_to_token(1), "");
  EXPECT_EQ(tokenizer->decode({0, 1, 2, 77, -5}), "a");
}

TEST(BadTokenizerJson, AnIdBeyondTheEmbedding) {
  const auto tokenizer = SmallTokenizer().make();
  tokenizer->check_embedding(3);
  EXPECT_THAT(test::error_of([&] { tokenizer->check_embedding(2); }),
              testing::AllOf(HasSubstr("\"b\" has id 2"), HasSubstr("2 rows")));
}

TEST(BadTokenizerJson, ACharacterMapThatLiesAboutItsSize) {
  const auto with = [](const std::string& blob) {
    SmallTokenizer t;
    t.normalizer = R"({"type":"Precompiled","precompiled_charsmap":")" + encode_base64(blob) + "\"}";
    return error_of_json(t.json());
  };
  EXPECT_THAT(with(std::string("\xFF\xFF\x00\x00....", 8)),
              HasSubstr("gives its trie a size of 65535 bytes"));
  EXPECT_THAT(with("ab"), HasSubstr("has only 2 bytes"));
  EXPECT_THAT(with(std::string("\x04\0\0\0\0\0\0\0\xFF", 9)), HasSubstr("not valid UTF-8"));
  SmallTokenizer t;
  t.normalizer = R"({"type":"Precompiled","precompiled_charsmap":"*"})";
  EXPECT_THAT(error_of_json(t.json()), HasSubstr("base64"));
}

TEST(BadFolder, SaysWhatItLookedFor) {
  const test::TempDir dir;
  const auto load = [&] { return test::error_of([&] { Tokenizer::from_pretrained(dir.path()); }); };
  EXPECT_THAT(load(), HasSubstr("no tokenizer here (looked for tokenizer.json, vocab.txt"));
  EXPECT_THAT(test::error_of([&] { Tokenizer::from_pretrained(dir / "absent"); }),
              HasSubstr("no such folder"));
  dir.write("vocab.json", R"({"a": 0})");
  EXPECT_THAT(load(), HasSubstr("no merges.txt"));
  dir.write("merges.txt", "#version\na b c\n");
  EXPECT_THAT(load(), HasSubstr("line 2"));
  dir.write("vocab.txt", "a\nb\n");
  EXPECT_THAT(load(), testing::AllOf(HasSubstr("vocab.txt"), HasSubstr("[UNK]")));
  dir.write("vocab.txt", "[UNK]\n\xFF\n");
  EXPECT_THAT(load(), HasSubstr("line 2 is not valid UTF-8"));
  std::filesystem::remove(dir / "vocab.txt");
  dir.write("spiece.model", "\x0A\x7F\x0A");
  EXPECT_THAT(load(), HasSubstr("longer than the file"));
  dir.write("spiece.model", "");
  EXPECT_THAT(load(), HasSubstr("holds no pieces"));
}

TEST(BadFolder, AddedTokensThatDoNotHold) {
  const test::TempDir dir;
  dir.write("vocab.txt", "[UNK]\n[CLS]\n[SEP]\na\n");
  const auto load = [&](const std::string& decoder) {
    dir.write("tokenizer_config.json", R"({"added_tokens_decoder": )" + decoder + "}");
    return test::error_of([&] { Tokenizer::from_pretrained(dir.path()); });
  };
  EXPECT_THAT(load(R"({"x": {"content": "b"}})"),
              testing::AllOf(HasSubstr("tokenizer_config.json"), HasSubstr("\"x\" is not a token's id")));
  EXPECT_THAT(load(R"({"99999999999999999999": {"content": "b"}})"), HasSubstr("is not a token's id"));
  EXPECT_THAT(load(R"({"4": 7})"), HasSubstr("the token 4 must be an object"));
  EXPECT_THAT(load(R"({"4": {"content": "b", "lstrip": "yes"}})"), HasSubstr("must be true or false"));
  EXPECT_THAT(load("[1]"), HasSubstr("\"added_tokens_decoder\" must be an object"));
}

TEST(InvalidUtf8, IsReadAsPythonDoesAndCounted) {
  const auto tokenizer = SmallTokenizer().make();
  const Encoding e = tokenizer->encode("a \xE4\xBD\xFF b \xC3\xA9");
  EXPECT_EQ(e.num_replaced, 2);
  EXPECT_EQ(e.input_ids, (std::vector<int32_t>{1, 0, 2, 0}));
  const std::vector<std::pair<int32_t, int32_t>> want = {{0, 1}, {2, 4}, {5, 6}, {7, 8}};
  EXPECT_EQ(e.offsets, want);
  EXPECT_EQ(tokenizer->encode_pair("\xFF", "\xFE").num_replaced, 2);
  EXPECT_EQ(tokenizer->encode_words({"\xFF", "a"}).num_replaced, 1);
}

}  // namespace
}  // namespace graft::text
