#include "data/text_blocks.h"

#include <gmock/gmock.h>

#include "base/error.h"
#include "base/threads.h"
#include "data/fake_tokenizer.h"
#include "support/shared.h"

namespace graft::data {
namespace {

using test::error_of;
using test::fake_encode;
using test::fake_id;
using test::TempDir;
using testing::AllOf;
using testing::HasSubstr;
using Ids = std::vector<int32_t>;

class TextBlocksTest : public testing::Test {
 protected:
  TextBlocks read(const std::string& content, const std::string& name = "a.txt") {
    return read_text_blocks({dir_.write(name, content)}, fake_encode, options_);
  }
  static Ids row(const TokenStore& store, int64_t i) {
    return Ids(store.row(i), store.row(i) + store.length(i));
  }
  static int32_t id(const char* piece) { return fake_id(piece); }

  TempDir dir_;
  TextBlockOptions options_;
};

TEST_F(TextBlocksTest, LineByLine) {
  options_.line_by_line = true;
  options_.max_seq_length = 5;
  const TextBlocks b = read("abcd ef\n\n \t\u3000\u00a0\nab\r\nabcdefghij\n");
  ASSERT_EQ(b.train.size(), 3);
  EXPECT_EQ(row(b.train, 0), (Ids{2, id("ab"), id("cd"), id("ef"), 3}));
  EXPECT_EQ(row(b.train, 1), (Ids{2, id("ab"), 3}));
  EXPECT_EQ(row(b.train, 2), (Ids{2, id("ab"), id("cd"), id("ef"), 3}));
  EXPECT_EQ(b.train.lengths(), (Ids{5, 3, 5}));
  EXPECT_EQ(b.counts.lines, 5);
  EXPECT_EQ(b.counts.empty_lines, 2);
  EXPECT_EQ(b.counts.truncated_lines, 1);
  EXPECT_EQ(b.counts.truncated_tokens, 2);
  EXPECT_EQ(b.counts.dropped_tokens, 0);
  EXPECT_EQ(b.counts.tokens, 13);
}

TEST_F(TextBlocksTest, PackedAcrossLines) {
  options_.max_seq_length = 4;
  options_.word_starts = true;
  const TextBlocks b = read("abcd ef\n\nghij\nkl\n");
  // 2 ab cd ef | 3 2 gh ij | 3 2 kl 3
  ASSERT_EQ(b.train.size(), 3);
  EXPECT_EQ(row(b.train, 0), (Ids{2, id("ab"), id("cd"), id("ef")}));
  EXPECT_EQ(row(b.train, 1), (Ids{3, 2, id("gh"), id("ij")}));
  EXPECT_EQ(row(b.train, 2), (Ids{3, 2, id("kl"), 3}));
  EXPECT_EQ(b.train.word_starts, (std::vector<uint8_t>{1, 1, 0, 1, 1, 1, 1, 0, 1, 1, 1, 1}));
  EXPECT_EQ(b.counts.dropped_tokens, 0);
  EXPECT_EQ(b.counts.empty_lines, 1);
}

TEST_F(TextBlocksTest, TextsAreMarkedWhereTheyBegin) {
  options_.max_seq_length = 4;
  options_.documents = true;
  const TextBlocks b = read("abcd\nef\n\nab\n");  // 4 + 3 + 3 tokens
  EXPECT_EQ(b.train.documents, (std::vector<int64_t>{0, 4, 7}));
  options_.documents = false;
  EXPECT_TRUE(read("abcd\nef\n").train.documents.empty());
}

TEST_F(TextBlocksTest, RemainderIsDroppedAndCounted) {
  options_.max_seq_length = 5;
  const TextBlocks b = read("abcd ef\nghij\nkl\n");
  EXPECT_EQ(b.train.size(), 2);
  EXPECT_EQ(b.counts.dropped_tokens, 2);
  EXPECT_EQ(b.train.ids.size(), 10u);
  options_.max_seq_length = 100;
  const TextBlocks all = read("abcd ef\nghij\n");
  ASSERT_EQ(all.train.size(), 1);
  EXPECT_EQ(all.train.length(0), 9);
  EXPECT_EQ(all.counts.dropped_tokens, 0);
}

TEST_F(TextBlocksTest, AnyFormatAndSeveralFiles) {
  options_.line_by_line = true;
  const auto csv = dir_.write("a.csv", "text,label\n\"ab\ncd\",x\nef,0.5\n");
  const auto jsonl =
      dir_.write("b.jsonl", "{\"premise\": \"gh\", \"hypothesis\": \"ij\"}\n{\"premise\": null}\n");
  const TextBlocks b = read_text_blocks({csv, jsonl}, fake_encode, options_);
  ASSERT_EQ(b.train.size(), 4);
  EXPECT_EQ(row(b.train, 1), (Ids{2, id("ef"), 3}));
  EXPECT_EQ(row(b.train, 3), (Ids{2, id("ij"), 3}));
  EXPECT_EQ(b.counts.empty_lines, 2);
  EXPECT_THAT(error_of([&] { read_text_blocks({dir_.write("c.csv", "words\nx\n")}, fake_encode, options_); }),
              HasSubstr("no text column (columns: words"));
}

TEST_F(TextBlocksTest, SameResultForAnyNumberOfThreadsAndPieces) {
  std::string content;
  for (int i = 0; i < 20000; ++i) content += "line " + std::to_string(i * 7919 % 10007) + "\n";
  options_.max_seq_length = 64;
  options_.validation_split_percentage = 5;
  set_num_threads(1);
  const TextBlocks one = read(content);
  set_num_threads(3);
  const TextBlocks three = read(content);
  set_num_threads(0);
  EXPECT_EQ(one.train.ids, three.train.ids);
  EXPECT_EQ(one.validation.ids, three.validation.ids);
  EXPECT_EQ(one.counts.validation_lines, 1000);
  EXPECT_EQ(one.counts.tokens + one.counts.dropped_tokens, static_cast<int64_t>([&] {
              int64_t tokens = 0;
              for (int i = 0; i < 20000; ++i) {
                tokens += 2 + 2 + (static_cast<int64_t>(std::to_string(i * 7919 % 10007).size()) + 1) / 2;
              }
              return tokens;
            }()));
}

// Without special tokens a line may have no token at all: it is dropped and counted, never an empty sequence.
TEST_F(TextBlocksTest, LinesWithoutTokensAreDropped) {
  options_.line_by_line = true;
  const auto letters_only = [](std::string_view text, const EncodeOptions&) {
    Encoding out;
    for (const char c : text) {
      if (c >= 'a' && c <= 'z') out.input_ids.push_back(c);
    }
    return out;
  };
  const TextBlocks b = read_text_blocks({dir_.write("a.txt", "ab\n\n!\n \ncd\n?")}, letters_only, options_);
  ASSERT_EQ(b.train.size(), 2);
  EXPECT_EQ(row(b.train, 1), (Ids{'c', 'd'}));
  EXPECT_EQ(b.counts.lines, 6);
  EXPECT_EQ(b.counts.empty_lines, 4);
}

TEST_F(TextBlocksTest, AByteOrderMarkIsNoText) {
  options_.line_by_line = true;
  for (const char* name : {"a.txt", "b.csv"}) {
    const std::string header = name[0] == 'b' ? "text\n" : "";
    const TextBlocks b = read("\xEF\xBB\xBF" + header + "abcd\n", name);
    ASSERT_EQ(b.train.size(), 1) << name;
    EXPECT_EQ(row(b.train, 0), (Ids{2, id("ab"), id("cd"), 3})) << name;
  }
  EXPECT_THAT(error_of([&] { read(std::string("\xFE\xFF\0a", 4)); }), HasSubstr("a.txt: the text is UTF-16"));
}

TEST_F(TextBlocksTest, MaxSamples) {
  options_.line_by_line = true;
  options_.max_train_samples = 2;
  EXPECT_EQ(read("a\nb\nc\n").train.size(), 2);
  options_.line_by_line = false;
  options_.max_seq_length = 4;
  const TextBlocks b = read("abcdefghijklmnopqrstuvwxyz\n");
  EXPECT_EQ(b.train.size(), 2);
  EXPECT_EQ(b.train.ids.size(), 8u);
}

TEST_F(TextBlocksTest, Errors) {
  EXPECT_THAT(error_of([&] { read("\n \n"); }),
              AllOf(HasSubstr("a.txt: no text to train on (2 lines, 2 empty)"), HasSubstr("a line")));
  EXPECT_THAT(error_of([&] { read("good\n\xC3\n"); }), HasSubstr("a.txt: line 2: not valid UTF-8"));
  EXPECT_THAT(error_of([&] { read_text_blocks({}, fake_encode, options_); }), HasSubstr("no files"));
  options_.max_seq_length = 2;
  EXPECT_THAT(error_of([&] { read("a\n"); }), HasSubstr("max_seq_length 2 is too short"));
  options_.max_seq_length = 8;
  options_.validation_split_percentage = 100;
  EXPECT_THAT(error_of([&] { read("a\n"); }), HasSubstr("validation_split_percentage 100"));
  options_.validation_split_percentage = 0;
  options_.word_starts = true;
  const EncodeText no_words = [](std::string_view, const EncodeOptions&) {
    Encoding encoding;
    encoding.input_ids = {7};
    return encoding;
  };
  EXPECT_THAT(error_of([&] { read_text_blocks({dir_.write("a.txt", "a\n")}, no_words, options_); }),
              HasSubstr("does not say which tokens make a word"));
}

TEST_F(TextBlocksTest, AnErrorInAThreadReachesTheCaller) {
  const EncodeText throwing = [](std::string_view, const EncodeOptions&) -> Encoding {
    fail("cannot encode");
  };
  EXPECT_THAT(error_of([&] { read_text_blocks({dir_.write("a.txt", "a\nb\n")}, throwing, options_); }),
              HasSubstr("cannot encode"));
}

TEST(ValidationSplit, ExactShareSpreadOverTheRows) {
  for (const int32_t percentage : {1, 5, 30, 50, 99}) {
    int64_t chosen = 0;
    for (int64_t i = 0; i < 10000; ++i) {
      chosen += in_validation_split(42, i, percentage);
      if ((i + 1) % 100 == 0) {
        EXPECT_EQ(chosen, (i + 1) * percentage / 100) << percentage;
      }
    }
  }
  EXPECT_FALSE(in_validation_split(42, 3, 0));
}

TEST(ValidationSplit, SeedDecides) {
  int same = 0, place = 0;
  for (int64_t i = 0; i < 20000; ++i) {
    same += in_validation_split(1, i, 5) && in_validation_split(2, i, 5);
    place += in_validation_split(1, i, 5) && i % 20 == 0;
  }
  EXPECT_NEAR(same, 50, 5 * 6.9);  // 1000 stretches, a place in 20 each: binomial(1000, 1/20)
  EXPECT_NEAR(place, 50, 5 * 6.9);
}

TEST(TextBlocksShared, CompressedCorpus) {
  GRAFT_SHARED_PATH(corpus, "data/corpora/en/african_storybook.txt.xz");
  TextBlockOptions options;
  options.max_seq_length = 128;
  const TextBlocks b = read_text_blocks({corpus}, fake_encode, options);
  EXPECT_GT(b.train.size(), 1000);
  EXPECT_LT(b.counts.dropped_tokens, 128);
  EXPECT_EQ(b.counts.tokens, b.train.size() * 128);
}

}  // namespace
}  // namespace graft::data
