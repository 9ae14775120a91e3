// Every line, pair and window of the reference fixtures, for every tokenizer there.
#include "base/file.h"
#include "base/json.h"
#include "graft/tokenizer.h"
#include "support/shared.h"

namespace graft {
namespace {

std::vector<std::string> read_texts(const std::filesystem::path& path) {
  const std::string all = read_file(path);
  std::vector<std::string> lines;
  for (size_t pos = 0; pos < all.size();) {
    size_t end = all.find('\n', pos);
    if (end == std::string::npos) end = all.size();
    lines.push_back(all.substr(pos, end - pos));
    pos = end + 1;
  }
  return lines;
}

std::vector<int32_t> flat(const std::vector<std::pair<int32_t, int32_t>>& pairs) {
  std::vector<int32_t> out;
  for (const auto& [b, e] : pairs) {
    out.push_back(b);
    out.push_back(e);
  }
  return out;
}

using Ints = std::vector<int32_t>;

void expect_encoding(const Encoding& e, const Json& want) {
  EXPECT_EQ(e.input_ids, want["ids"].get<Ints>());
  EXPECT_EQ(flat(e.offsets), want["offsets"].get<Ints>());
  EXPECT_EQ(e.word_ids, want["words"].get<Ints>());
  if (want.contains("types")) {
    EXPECT_EQ(e.token_type_ids, want["types"].get<Ints>());
  }
  if (want.contains("seq")) {
    const auto seq = want["seq"].get<Ints>();
    EXPECT_EQ(e.sequence_ids, seq);
    std::vector<uint8_t> mask;
    for (const int32_t s : seq) mask.push_back(s < 0);
    EXPECT_EQ(e.special_tokens_mask, mask);
  }
}

class Golden : public testing::TestWithParam<std::string> {};

TEST_P(Golden, LinesPairsAndWindowsEqualTheReference) {
  const std::string name = GetParam();
  GRAFT_SHARED_PATH(fixture, "golden/tokenizers/" + name + ".json");
  const Json golden = read_json(fixture);
  const auto texts = read_texts(test::fixture_path("golden/tokenizers/texts.txt"));
  const auto tokenizer = Tokenizer::from_pretrained(test::fixture_path("data/tokenizers/" + name));
  const auto text = [&](const Json& line) { return texts.at(line.get<size_t>()); };
  ASSERT_EQ(golden["lines"].size(), texts.size());
  for (size_t i = 0; i < texts.size() && !HasFailure(); ++i) {
    SCOPED_TRACE(name + " line " + std::to_string(i) + ": " + texts[i]);
    const Json& want = golden["lines"][i];
    expect_encoding(tokenizer->encode(texts[i]), want);
    EncodeOptions plain;
    plain.add_special_tokens = false;
    plain.ids_only = true;
    EXPECT_EQ(tokenizer->encode(texts[i], plain).input_ids, want["plain_ids"].get<Ints>());
    EXPECT_EQ(tokenizer->normalize(texts[i]), want.value("normalized", texts[i]));
    EXPECT_EQ(tokenizer->decode(want["ids"].get<Ints>(), true), want["decoded"]);
    EXPECT_EQ(tokenizer->decode(want["ids"].get<Ints>(), false), want["decoded_with_special"]);
  }
  EncodeOptions options;
  options.truncation = Truncation::longest_first;
  options.max_length = 48;
  for (const Json& want : golden["pairs"]) {
    if (HasFailure()) break;
    SCOPED_TRACE(name + " pair " + want["a"].dump() + " " + want["b"].dump());
    expect_encoding(tokenizer->encode_pair(text(want["a"]), text(want["b"]), options), want);
  }
  options.truncation = Truncation::only_second;
  options.max_length = 64;
  // 0.23.3 puts every token in a window, 0.23.2 does not.
  options.reference_windows = golden["info"]["library"] == "tokenizers 0.23.2";
  options.stride = 16;
  options.return_overflowing = true;
  for (const Json& want : golden["windows"]) {
    if (HasFailure()) break;
    SCOPED_TRACE(name + " windows of question " + want["question"].dump());
    std::string context;
    for (const Json& line : want["context_lines"]) context += (context.empty() ? "" : " ") + text(line);
    Encoding e = tokenizer->encode_pair(text(want["question"]), context, options);
    ASSERT_EQ(e.overflowing.size() + 1, want["windows"].size());
    expect_encoding(e, want["windows"][0]);
    for (size_t w = 0; w < e.overflowing.size(); ++w)
      expect_encoding(e.overflowing[w], want["windows"][w + 1]);
    EXPECT_EQ(e.num_truncated, 0);
  }
}

INSTANTIATE_TEST_SUITE_P(All, Golden,
                         testing::ValuesIn(test::available_tokenizers(
                             {"small-bert-uncased", "small-bert-cased", "small-roberta", "small-gpt2",
                              "small-xlm-roberta", "small-t5", "small-llama", "small-modernbert",
                              "bert-base-uncased", "bert-base-cased", "bert-base-multilingual-cased",
                              "bert-base-chinese", "roberta-base", "gpt2", "modernbert", "phi3-llama-bpe",
                              "xlm-roberta-base", "t5-small", "albert-base-v2"})));

}  // namespace
}  // namespace graft
