// Every code point as the reference's components treat it: counts and sums asked of tokenizers 0.23.3.
#include "text/unicode.h"

#include <gtest/gtest.h>

#include "base/json.h"
#include "base/utf8.h"
#include "support/shared.h"
#include "text/normalizer.h"
#include "text/support_json.h"

namespace graft::text {
namespace {

template <class See>
void for_each_code_point(char32_t first, See see) {
  for (char32_t c = first; c < 0x110000; ++c)
    if (c < 0xD800 || c > 0xDFFF) see(c);
}

TEST(Unicode, FlagsAreTheReferences) {
  struct Flag {
    CharFlag flag;
    int64_t count, sum;  // of the code points from U+0080 on that have it
  };
  constexpr Flag kFlags[] = {
      {kPunctuation, 694, 20673895}, {kOther, 137650, 137913018669}, {kNonspacing, 1567, 262554314},
      {kMark, 2097, 286880651},      {kLetter, 140976, 15240924396}, {kNumber, 1901, 110651370},
      {kNumeric, 1914, 111665846},   {kWord, 144604, 15621639906},   {kWhitespace, 19, 141499},
  };
  for (const Flag& want : kFlags) {
    int64_t count = 0, sum = 0;
    for_each_code_point(0x80, [&](char32_t c) {
      if (!(char_flags(c) & want.flag)) return;
      ++count;
      sum += c;
    });
    EXPECT_EQ(count, want.count) << want.flag;
    EXPECT_EQ(sum, want.sum) << want.flag;
  }
}

TEST(Unicode, NormalizersAreTheReferences) {
  struct Form {
    const char* json;
    int64_t count, sum;  // of the code points that change between "a" and "b", and of all that they become
  };
  constexpr Form kForms[] = {
      {R"({"type": "NFC"})", 1136, 46803647},
      {R"({"type": "NFD"})", 13232, 201604288},
      {R"({"type": "NFKC"})", 4810, 72761046},
      {R"({"type": "NFKD"})", 16894, 226617877},
      {R"({"type": "Lowercase"})", 1488, 39293328},
      {R"({"type": "StripAccents"})", 2097, 408915},
      {R"({"type": "Nmt"})", 45, 9255},
      {R"({"type": "BertNormalizer", "clean_text": false, "handle_chinese_chars": false, "strip_accents": true, "lowercase": false})",
       14781, 199439176},
      {R"({"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": false, "strip_accents": false, "lowercase": false})",
       137701, 26852367},
      {R"({"type": "BertNormalizer", "clean_text": false, "handle_chinese_chars": true, "strip_accents": false, "lowercase": false})",
       81264, 9192649240},
  };
  for (const Form& want : kForms) {
    const auto normalizer = make_normalizer(Json::parse(want.json), "unicode_test");
    int64_t count = 0, sum = 0;
    for_each_code_point(1, [&](char32_t c) {
      std::string text = "a";
      utf8::append(text, c);
      text += 'b';
      AlignedText aligned;
      aligned.assign(text, 0);
      normalizer->normalize(aligned);
      if (aligned.text == text) return;
      ++count;
      for (size_t pos = 0; pos < aligned.text.size();) sum += next_char(aligned.text, pos);
    });
    EXPECT_EQ(count, want.count) << want.json;
    EXPECT_EQ(sum, want.sum) << want.json;
  }
}

TEST(Unicode, BertOnCharactersOfSeveralVersions) {
  const auto tokenizer = Tokenizer::from_pretrained(test::fixture_path("data/tokenizers/small-bert-uncased"));
  const auto tokens = [&](const char* text) { return tokenizer->tokens(tokenizer->encode(text)); };
  // U+166D was punctuation until Unicode 12; U+1885 was a letter until Unicode 9.
  EXPECT_EQ(tokens("a\u166D"
                   "b"),
            (std::vector<std::string>{"[CLS]", "a", "[UNK]", "b", "[SEP]"}));
  EXPECT_EQ(tokens("hello\u1885"), (std::vector<std::string>{"[CLS]", "[UNK]", "[SEP]"}));
}

TEST(Unicode, ScriptsLeaveUnassignedCodePointsWhereTheyAre) {
  SmallTokenizer parts;
  parts.pre_tokenizer = R"({"type": "UnicodeScripts"})";
  parts.model = R"({"type": "WordLevel", "vocab": {"[UNK]": 0, "a\u0378b": 1}, "unk_token": "[UNK]"})";
  EXPECT_EQ(parts.make()->encode("a\u0378b").input_ids, (std::vector<int32_t>{1}));
}

TEST(Unicode, OffsetsOfATokenBehindWhiteSpaceBeyondAscii) {
  const auto tokenizer = Tokenizer::from_pretrained(test::fixture_path("data/tokenizers/small-roberta"));
  for (const char* space : {" ", "\u00A0", "\u2003", "\u3000"})
    EXPECT_EQ(tokenizer->encode(std::string(space) + "<mask>").offsets[1],
              (std::pair<int32_t, int32_t>(1, 7)));
}

}  // namespace
}  // namespace graft::text
