// The legacy files of a model give what its tokenizer.json gives; saving and loading changes nothing.
#include <algorithm>
#include <set>

#include "base/file.h"
#include "base/json.h"
#include "graft/tokenizer.h"
#include "support/shared.h"

namespace graft {
namespace {

std::vector<std::string> fixture_texts() {
  const std::string all = read_file(test::fixture_path("golden/tokenizers/texts.txt"));
  std::vector<std::string> lines;
  for (size_t pos = 0; pos < all.size();) {
    const size_t end = std::min(all.find('\n', pos), all.size());
    lines.push_back(all.substr(pos, end - pos));
    pos = end + 1;
  }
  return lines;
}

std::vector<int32_t> sorted(std::vector<int32_t> ids) {
  std::sort(ids.begin(), ids.end());
  return ids;
}

// With `has_ties` the same tokens may stand in another order.
void expect_same(const Tokenizer& a, const Tokenizer& b, bool has_ties = false) {
  for (const std::string& line : fixture_texts()) {
    const Encoding x = a.encode(line), y = b.encode(line);
    if (has_ties && x.input_ids != y.input_ids && sorted(x.input_ids) == sorted(y.input_ids)) continue;
    ASSERT_EQ(x.input_ids, y.input_ids) << line;
    ASSERT_EQ(x.offsets, y.offsets) << line;
    ASSERT_EQ(x.word_ids, y.word_ids) << line;
    const Encoding p = a.encode_pair(line, "second text"), q = b.encode_pair(line, "second text");
    ASSERT_EQ(p.input_ids, q.input_ids) << line;
    ASSERT_EQ(p.token_type_ids, q.token_type_ids) << line;
    ASSERT_EQ(a.decode(x.input_ids), b.decode(y.input_ids)) << line;
  }
  for (const char* role :
       {"unk_token", "cls_token", "sep_token", "pad_token", "mask_token", "bos_token", "eos_token"})
    EXPECT_EQ(a.special_id(role), b.special_id(role)) << role;
  EXPECT_EQ(a.vocab_size(), b.vocab_size());
}

class Legacy : public testing::TestWithParam<std::string> {};

TEST_P(Legacy, FilesGiveWhatTokenizerJsonGives) {
  GRAFT_SHARED_PATH(folder, "data/tokenizers/" + GetParam());
  const test::TempDir copy;
  for (const auto& file : std::filesystem::directory_iterator(folder))
    if (file.path().filename() != "tokenizer.json")
      std::filesystem::copy_file(file.path(), copy / file.path().filename().string());
  // Segmentations of some lines have the same score in decimals and not as floats: the reference, too,
  // gives one from tokenizer.json and the other from sentencepiece.bpe.model.
  expect_same(*Tokenizer::from_pretrained(folder), *Tokenizer::from_pretrained(copy.path()),
              GetParam() == "xlm-roberta-base");
}

INSTANTIATE_TEST_SUITE_P(All, Legacy,
                         testing::ValuesIn(test::available_tokenizers(
                             {"small-bert-uncased", "small-bert-cased", "small-roberta", "small-gpt2",
                              "small-xlm-roberta", "small-t5", "bert-base-uncased", "distilbert-base-uncased",
                              "roberta-base", "gpt2", "deberta-base-mnli", "xlm-roberta-base", "t5-small",
                              "albert-base-v2"})));

class SaveAndLoad : public testing::TestWithParam<std::string> {};

TEST_P(SaveAndLoad, KeepsEverything) {
  GRAFT_SHARED_PATH(folder, "data/tokenizers/" + GetParam());
  const test::TempDir saved;
  const auto tokenizer = Tokenizer::from_pretrained(folder);
  tokenizer->save(saved.path());
  expect_same(*tokenizer, *Tokenizer::from_pretrained(saved.path()));
  if (std::filesystem::exists(folder / "tokenizer.json")) {
    EXPECT_EQ(read_file(saved / "tokenizer.json"), read_file(folder / "tokenizer.json"));
  }
}

INSTANTIATE_TEST_SUITE_P(All, SaveAndLoad,
                         testing::ValuesIn(test::available_tokenizers(
                             {"small-bert-uncased", "small-roberta", "small-gpt2", "small-xlm-roberta",
                              "small-t5", "small-llama", "small-modernbert", "bert-base-uncased",
                              "bert-base-cased", "roberta-base", "xlm-roberta-base", "phi3-llama-bpe"})));

TEST(AddTokens, SurvivesSavingAndKeepsTheRestOfTheFile) {
  const auto folder = test::fixture_path("data/tokenizers/small-bert-uncased");
  const test::TempDir saved;
  const auto tokenizer = Tokenizer::from_pretrained(folder);
  const int32_t size = tokenizer->vocab_size();
  EXPECT_EQ(tokenizer->add_tokens({"<ctx>", "[MASK]"}, true), 1);
  EXPECT_EQ(tokenizer->add_tokens({"COVID", "covid"}), 2);
  EXPECT_EQ(tokenizer->vocab_size(), size + 3);
  EXPECT_EQ(tokenizer->token_to_id("<ctx>"), size);
  tokenizer->save(saved.path());
  const auto loaded = Tokenizer::from_pretrained(saved.path());
  expect_same(*tokenizer, *loaded);
  EncodeOptions plain;
  plain.add_special_tokens = false;
  // Not special: found in the lower-cased text. Special: as it is written.
  EXPECT_EQ(loaded->encode("<ctx>Covid!", plain).input_ids,
            (std::vector<int32_t>{size, size + 2, *tokenizer->token_to_id("!")}));
  EXPECT_TRUE(loaded->is_special(size));
  EXPECT_FALSE(loaded->is_special(size + 2));
  // Only the block of added tokens differs.
  const std::string before = read_file(folder / "tokenizer.json"),
                    after = read_file(saved / "tokenizer.json");
  const size_t begin = before.find("\"added_tokens\"");
  EXPECT_EQ(after.substr(0, begin), before.substr(0, begin));
  const size_t tail = before.size() - before.find("\"normalizer\"");
  EXPECT_EQ(after.substr(after.size() - tail), before.substr(before.size() - tail));
}

TEST(Llama, MergesDerivedFromPiecesAreThoseOfTheFile) {
  GRAFT_SHARED_PATH(folder, "data/tokenizers/phi3-llama-bpe");
  // A sentencepiece BPE model written by hand from the vocabulary: rank is the negated score.
  const auto want = Tokenizer::from_pretrained(folder);
  std::string bytes;
  const auto varint = [](std::string& out, uint64_t v) {
    for (; v >= 128; v >>= 7) out += static_cast<char>(v | 128);
    out += static_cast<char>(v);
  };
  const auto field = [&](std::string& out, int number, const std::string& content) {
    varint(out, static_cast<uint64_t>(number) << 3 | 2);
    varint(out, content.size());
    out += content;
  };
  for (int id = 0; id < 32000; ++id) {
    const std::string token = want->id_to_token(id);
    std::string piece;
    field(piece, 1, token);
    const bool spaces = token.size() > 3 && token.find_first_not_of("\xE2\x96\x81") == std::string::npos;
    const float score = id < 259 ? 0.0f : spaces ? -1e9f : -static_cast<float>(id - 259);
    piece += '\x15';
    piece.append(reinterpret_cast<const char*>(&score), 4);
    piece += '\x18';
    piece += static_cast<char>(id == 0 ? 2 : id < 3 ? 3 : id < 259 ? 6 : 1);
    field(bytes, 1, piece);
  }
  std::string trainer;
  trainer += "\x18\x02";
  varint(trainer, 35 << 3);
  trainer += '\x01';
  field(bytes, 2, trainer);
  const test::TempDir made;
  made.write("tokenizer.model", bytes);
  made.write("tokenizer_config.json", R"({"tokenizer_class": "LlamaTokenizer", "add_bos_token": false})");
  const auto got = Tokenizer::from_pretrained(made.path());
  EncodeOptions plain;
  plain.add_special_tokens = false;
  for (const std::string& line : fixture_texts()) {
    // The file's own added tokens are not in the model, and its spaces were merged in an order of their own.
    if (line.find("<|") != std::string::npos || line.find("</s>") != std::string::npos) continue;
    if (line.find("  ") != std::string::npos) continue;
    ASSERT_EQ(got->encode(line, plain).input_ids, want->encode(line, plain).input_ids) << line;
  }
}

}  // namespace
}  // namespace graft
