// What must hold for any text: offsets within it and in order, round trips, the two ways through a tokenizer
// agree.
#include <time.h>

#include "base/file.h"
#include "base/philox.h"
#include "base/utf8.h"
#include "graft/tokenizer.h"
#include "support/shared.h"
#include "text/unicode.h"

namespace graft {
namespace {

std::vector<std::string> names() {
  return test::available_tokenizers({"small-bert-uncased", "small-bert-cased", "small-roberta", "small-gpt2",
                                     "small-xlm-roberta", "small-t5", "small-llama", "small-modernbert",
                                     "bert-base-uncased", "bert-base-chinese", "roberta-base", "gpt2",
                                     "modernbert", "phi3-llama-bpe", "t5-small", "xlm-roberta-base",
                                     "albert-base-v2"});
}

// A text of characters that tokenizers treat differently: ASCII, accents, marks, ideographs, emoji, controls,
// spaces.
std::string random_text(PhiloxStream& random, size_t chars) {
  static const std::pair<char32_t, char32_t> kRanges[] = {
      {0x20, 0x7E},      {0x61, 0x7A},     {0x20, 0x20},     {0x00, 0x1F},       {0x80, 0x24F},
      {0x300, 0x36F},    {0x370, 0x5FF},   {0x600, 0x6FF},   {0x900, 0xDFF},     {0xE01, 0xE5B},
      {0x1100, 0x11FF},  {0x1E00, 0x1FFF}, {0x2000, 0x206F}, {0x2580, 0x2590},   {0x3000, 0x30FF},
      {0x4E00, 0x9FFF},  {0xAC00, 0xD7A3}, {0xF900, 0xFFEF}, {0x1F300, 0x1F6FF}, {0x20000, 0x200FF},
      {0xE0100, 0xE01EF}};
  std::string text;
  for (size_t i = 0; i < chars; ++i) {
    const auto& [first, last] = kRanges[random.below(std::size(kRanges))];
    const size_t repeat = random.below(8) == 0 ? 1 + random.below(6) : 1;
    const auto c = static_cast<char32_t>(first + random.below(last - first + 1));
    for (size_t k = 0; k < repeat; ++k) utf8::append(text, c);
  }
  return text;
}

std::string random_bytes(PhiloxStream& random, size_t size) {
  std::string text;
  for (size_t i = 0; i < size; ++i) text += static_cast<char>(random.below(256));
  return text;
}

void expect_sound(const Encoding& e, const std::string& text) {
  const auto chars = static_cast<int32_t>(utf8::length(utf8::replace_invalid(text)));
  int32_t previous = 0, word = 0;
  for (size_t i = 0; i < e.input_ids.size(); ++i) {
    const auto [begin, end] = e.offsets[i];
    ASSERT_LE(0, begin);
    ASSERT_LE(begin, end);
    ASSERT_LE(end, chars);
    if (e.word_ids[i] < 0) continue;
    ASSERT_LE(previous, begin);
    ASSERT_LE(word, e.word_ids[i]);
    previous = begin;
    word = e.word_ids[i];
  }
}

class AnyText : public testing::TestWithParam<std::string> {};

TEST_P(AnyText, OffsetsAreSoundAndBothWaysAgree) {
  GRAFT_SHARED_PATH(folder, "data/tokenizers/" + GetParam());
  const auto tokenizer = Tokenizer::from_pretrained(folder);
  PhiloxStream random(philox_key(7, 0, GetParam()));
  EncodeOptions general;  // a limit on the words sends a text the general way
  general.reference_windows = true;
  general.truncation = Truncation::longest_first;
  general.max_length = 1 << 30;
  EncodeOptions ids_only;
  ids_only.ids_only = true;
  for (int i = 0; i < 400; ++i) {
    const std::string text =
        i % 2 ? random_text(random, random.below(60)) : random_bytes(random, random.below(90));
    const Encoding e = tokenizer->encode(text), plain = tokenizer->encode(text, general);
    ASSERT_EQ(e.input_ids, plain.input_ids) << text;
    ASSERT_EQ(e.offsets, plain.offsets) << text;
    ASSERT_EQ(e.word_ids, plain.word_ids) << text;
    ASSERT_EQ(tokenizer->encode(text, ids_only).input_ids, e.input_ids) << text;
    ASSERT_NO_FATAL_FAILURE(expect_sound(e, text)) << text;
  }
}

INSTANTIATE_TEST_SUITE_P(All, AnyText, testing::ValuesIn(names()));

class ByteLevel : public testing::TestWithParam<std::string> {};

TEST_P(ByteLevel, DecodingGivesTheTextBack) {
  GRAFT_SHARED_PATH(texts, "golden/tokenizers/texts.txt");
  GRAFT_SHARED_PATH(folder, "data/tokenizers/" + GetParam());
  const auto tokenizer = Tokenizer::from_pretrained(folder);
  EncodeOptions plain;
  plain.add_special_tokens = false;
  PhiloxStream random(philox_key(8, 0, GetParam()));
  std::vector<std::string> lines;
  const std::string all = read_file(texts);
  for (size_t pos = 0; pos < all.size();) {
    const size_t end = std::min(all.find('\n', pos), all.size());
    lines.push_back(all.substr(pos, end - pos));
    pos = end + 1;
  }
  for (int i = 0; i < 300; ++i)
    lines.push_back(utf8::replace_invalid(random_bytes(random, random.below(200))));
  for (const std::string& line : lines) {
    // lstrip of RoBERTa's <mask> takes spaces along that no token keeps.
    if (line.find("<mask>") != std::string::npos) continue;
    ASSERT_EQ(tokenizer->decode(tokenizer->encode(line, plain).input_ids, false), line);
  }
}

INSTANTIATE_TEST_SUITE_P(All, ByteLevel,
                         testing::ValuesIn(test::available_tokenizers({"small-gpt2", "small-roberta", "gpt2",
                                                                       "roberta-base"})));

TEST(Batch, EqualsOneByOne) {
  const auto tokenizer = Tokenizer::from_pretrained(test::fixture_path("data/tokenizers/small-bert-uncased"));
  PhiloxStream random(philox_key(9, 0, "batch"));
  std::vector<std::string> texts, pairs;
  for (int i = 0; i < 200; ++i) {
    texts.push_back(random_text(random, 30));
    pairs.push_back(random_text(random, 10));
  }
  const auto one = tokenizer->encode_batch(texts), two = tokenizer->encode_batch(texts, pairs);
  for (size_t i = 0; i < texts.size(); ++i) {
    EXPECT_EQ(one[i].input_ids, tokenizer->encode(texts[i]).input_ids);
    EXPECT_EQ(two[i].input_ids, tokenizer->encode_pair(texts[i], pairs[i]).input_ids);
  }
  EXPECT_THAT(test::error_of([&] { tokenizer->encode_batch(texts, {"one"}); }),
              testing::HasSubstr("1 pairs"));
}

// Processor time of this thread.
double seconds_of(const Tokenizer& tokenizer, const std::string& text) {
  EncodeOptions options;
  options.ids_only = true;
  timespec start{}, end{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &start);
  tokenizer.encode(text, options);
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
  return static_cast<double>(end.tv_sec - start.tv_sec) +
         1e-9 * static_cast<double>(end.tv_nsec - start.tv_nsec);
}

class LinearTimeSlow : public testing::TestWithParam<std::string> {};

TEST_P(LinearTimeSlow, OnALineWithoutASpace) {
  GRAFT_SHARED_PATH(folder, "data/tokenizers/" + GetParam());
  const auto tokenizer = Tokenizer::from_pretrained(folder);
  for (const std::string unit : {"a", "xyz", "\u4f60\u597d", "\u0e01\u0e33"}) {
    SCOPED_TRACE(unit);
    const auto line = [&](size_t bytes) {
      std::string text;
      while (text.size() < bytes) text += unit;
      return text;
    };
    // The best of several rounds that take all sizes in turn: other work on the machine counts little.
    const std::string lines[] = {line(8 << 10), line(1 << 20), line(2 << 20), line(4 << 20)};
    double best[] = {1e9, 1e9, 1e9, 1e9};
    for (int round = 0; round < 6; ++round)
      for (int i = 0; i < 4; ++i) best[i] = std::min(best[i], seconds_of(*tokenizer, lines[i]));
    const double small = best[0] / (8 << 10), one = best[1], two = best[2], four = best[3];
    EXPECT_LE(two / one, 2.3);
    EXPECT_LE(four / two, 2.3);
    EXPECT_LE(one / (1 << 20), 4 * small);
  }
}

INSTANTIATE_TEST_SUITE_P(All, LinearTimeSlow, testing::ValuesIn(names()));

}  // namespace
}  // namespace graft
