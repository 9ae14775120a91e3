// Cutting by bits against the same rules applied one character at a time.
#include "text/chunk_cutter.h"

#include "base/philox.h"
#include "base/utf8.h"
#include "support/shared.h"
#include "text/pattern.h"
#include "text/unicode.h"

namespace graft::text {
namespace {

using Chunks = std::vector<std::string>;

Chunks cut(const std::string& text, ChunkCutter::Rule rule, bool isolates_chinese = true) {
  static ChunkCutter cutter;
  cutter.start(text, rule, isolates_chinese);
  uint32_t begins[ChunkCutter::kBatchRoom], ends[ChunkCutter::kBatchRoom];
  Chunks chunks;
  while (const size_t n = cutter.next(begins, ends))
    for (size_t i = 0; i < n; ++i) chunks.push_back(text.substr(begins[i], ends[i] - begins[i]));
  return chunks;
}

Chunks plain_gpt2(const std::string& text) {
  Chunks chunks;
  for (size_t pos = 0; pos < text.size();) {
    const size_t end = gpt2_word_end(text, pos, text.size());
    chunks.push_back(text.substr(pos, end - pos));
    pos = end;
  }
  return chunks;
}

Chunks plain_bert(const std::string& text, bool isolates_chinese) {
  Chunks chunks;
  bool joins = false;  // the next character goes on with the last chunk
  for (size_t pos = 0; pos < text.size();) {
    const size_t begin = pos;
    const char32_t c = next_char(text, pos);
    const bool space = c == ' ' || c == '\t' || c == '\n' || c == '\r';
    const bool alone = (c < 128 && is_punctuation(c)) || (isolates_chinese && (char_flags(c) & kChinese));
    if (!space && (alone || !joins)) chunks.emplace_back();
    if (!space) chunks.back() += text.substr(begin, pos - begin);
    joins = !space && !alone;
  }
  return chunks;
}

// Mostly what English is made of, in runs, with some of everything else.
std::string random_text(PhiloxStream& random, size_t pieces) {
  static const char* const kPieces[] = {"a",
                                        "word",
                                        "streve",
                                        "x",
                                        "1",
                                        "2026",
                                        "'",
                                        "'s",
                                        "'ll",
                                        "'t",
                                        "'v",
                                        ".",
                                        ",",
                                        "!?",
                                        " ",
                                        " ",
                                        " ",
                                        "  ",
                                        "    ",
                                        "\n",
                                        "\t",
                                        " \n",
                                        "\r\n",
                                        "\x01",
                                        "\x7F",
                                        "\u00E9",
                                        "\u201C",
                                        "\u2019",
                                        "\u00A0",
                                        "\u3000",
                                        "\u4F60\u597D",
                                        "\u0301",
                                        "\u200D",
                                        "\u0600",
                                        "\U0001F600",
                                        "\u00B2"};
  std::string text;
  for (size_t i = 0; i < pieces; ++i) {
    const char* piece = kPieces[random.below(random.below(3) ? 22 : std::size(kPieces))];
    const size_t repeat = random.below(40) == 0 ? 70 : 1;
    for (size_t k = 0; k < repeat; ++k) text += piece;
  }
  return text;
}

TEST(ChunkCutter, CutsAsTheRulesSay) {
  PhiloxStream random(philox_key(11, 0, "chunks"));
  for (int i = 0; i < 4000; ++i) {
    const std::string text = random_text(random, random.below(i % 2 ? 12 : 120));
    ASSERT_EQ(cut(text, ChunkCutter::Rule::gpt2), plain_gpt2(text)) << text;
    ASSERT_EQ(cut(text, ChunkCutter::Rule::bert), plain_bert(text, true)) << text;
    ASSERT_EQ(cut(text, ChunkCutter::Rule::bert, false), plain_bert(text, false)) << text;
  }
}

TEST(ChunkCutter, CutsBeforeSpacesUnlessACharacterClingsToThem) {
  const auto spaces = [](const std::string& text) { return cut(text, ChunkCutter::Rule::spaces); };
  EXPECT_EQ(spaces("one two  three "), (Chunks{"one", " two", "  three", " "}));
  EXPECT_EQ(spaces("  one"), (Chunks{"  one"}));
  EXPECT_EQ(spaces("a \u00E9 b"), (Chunks{"a", " \u00E9", " b"}));
  EXPECT_EQ(spaces("a  \u0301b c"), (Chunks{"a  \u0301b", " c"}));  // a combining mark
  EXPECT_EQ(spaces("a\u0600 b c"), (Chunks{"a\u0600 b", " c"}));    // Prepend
  EXPECT_EQ(spaces(""), Chunks{});
  PhiloxStream random(philox_key(12, 0, "chunks"));
  for (int i = 0; i < 1000; ++i) {
    const std::string text = random_text(random, random.below(80));
    std::string all;
    for (const std::string& chunk : spaces(text)) {
      EXPECT_TRUE(all.empty() || chunk[0] == ' ') << text;
      all += chunk;
    }
    ASSERT_EQ(all, text);
  }
}

}  // namespace
}  // namespace graft::text
