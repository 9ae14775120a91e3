// Pieces that a vocabulary learns from a text (transfer/new_pieces.h), for every type of model.
#include "transfer/new_pieces.h"

#include <algorithm>
#include <fstream>

#include "base/error.h"
#include "base/folder.h"
#include "base/json.h"
#include "graft/train_tokenizer.h"
#include "models/model_case.h"

namespace graft::transfer {
namespace {
namespace fs = std::filesystem;

using test::error_of;
using test::TempDir;
using testing::HasSubstr;

// Long words that small vocabularies cut into many pieces, each in several places.
std::string domain_text() {
  const std::vector<std::string> words = {
      "immunoglobulin", "thrombocytopenia", "transplantation", "receptor", "cytokine", "the", "of",
      "patients"};
  std::string text;
  for (size_t i = 0; i < 60; ++i) {
    for (size_t j = 0; j < 6; ++j) text += words[(i * 5 + j * (1 + i % 3)) % words.size()] + " ";
    text += "case " + std::to_string(i) + ".\n";
  }
  return text;
}

std::string without(std::string piece, const std::string& prefix) {
  if (!prefix.empty() && piece.starts_with(prefix)) piece.erase(0, prefix.size());
  return piece;
}

class NewPieces : public testing::TestWithParam<const char*> {};

TEST_P(NewPieces, ShortenTheTextAndLeaveOthersAsTheyWere) {
  constexpr int64_t kWanted = 12;
  GRAFT_SHARED_PATH(folder, std::string("data/tokenizers/") + GetParam());
  GRAFT_SHARED_PATH(texts, "data/tokenizers/texts.txt");
  const auto before = Tokenizer::from_pretrained(folder);
  const TempDir dir;
  const fs::path text = dir.write("domain.txt", domain_text());
  const LearnedPieces learned = learn_pieces(text, *before, kWanted, dir / "scratch");
  EXPECT_FALSE(fs::exists(dir / "scratch"));
  ASSERT_EQ(std::ssize(learned.added.pieces), kWanted);
  before->save(dir / "larger");
  text::VocabularyFiles files(dir / "larger");
  const std::string prefix = files.continuing_prefix();
  EXPECT_EQ(learned.first_id, files.num_ids());
  files.append(learned.added);
  const auto after = Tokenizer::from_pretrained(dir / "larger");
  for (int64_t i = 0; i < kWanted; ++i) {
    const std::string& piece = learned.added.pieces[static_cast<size_t>(i)];
    EXPECT_EQ(after->id_to_token(learned.first_id + static_cast<int32_t>(i)), piece);
    EXPECT_FALSE(before->token_to_id(piece).has_value()) << piece;
    std::string joined;
    for (const int32_t part : learned.parts[static_cast<size_t>(i)])
      joined += joined.empty() ? before->id_to_token(part) : without(before->id_to_token(part), prefix);
    EXPECT_EQ(joined, piece);
  }
  EXPECT_LT(tokenizer_stats(*after, text).tokens, 0.9 * tokenizer_stats(*before, text).tokens);
  std::ifstream in(texts);
  int64_t same = 0;
  for (std::string line; std::getline(in, line);) {
    const Encoding old = before->encode(line), now = after->encode(line);
    EXPECT_EQ(before->decode(old.input_ids), after->decode(now.input_ids));
    if (std::any_of(now.input_ids.begin(), now.input_ids.end(),
                    [&](int32_t id) { return id >= learned.first_id; }))
      continue;
    ++same;
    EXPECT_EQ(old.input_ids, now.input_ids) << line;
    EXPECT_EQ(old.offsets, now.offsets) << line;
  }
  EXPECT_GT(same, 10);
}

INSTANTIATE_TEST_SUITE_P(Kinds, NewPieces,
                         testing::Values("small-bert-uncased", "small-bert-cased", "small-gpt2",
                                         "small-roberta", "small-t5", "small-xlm-roberta", "small-llama",
                                         "small-modernbert"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

// The files of older programs say the same as tokenizer.json.
TEST(NewPieces, AreInTheLegacyFilesToo) {
  for (const char* name : {"small-bert-uncased", "small-gpt2"}) {
    GRAFT_SHARED_PATH(folder, std::string("data/tokenizers/") + name);
    const TempDir dir;
    const fs::path text = dir.write("domain.txt", domain_text());
    const auto before = Tokenizer::from_pretrained(folder);
    before->save(dir / "larger");
    text::VocabularyFiles(dir / "larger").append(learn_pieces(text, *before, 10, dir / "scratch").added);
    const auto from_json = Tokenizer::from_pretrained(dir / "larger");
    fs::remove(dir / "larger" / "tokenizer.json");
    const auto from_files = Tokenizer::from_pretrained(dir / "larger");
    const std::string line = "the immunoglobulin receptor of transplantation";
    EXPECT_EQ(from_json->encode(line).input_ids, from_files->encode(line).input_ids) << name;
    EXPECT_LT(from_files->encode(line).input_ids.size(), before->encode(line).input_ids.size()) << name;
  }
}

TEST(NewPieces, AreRefusedWhereIdsArePositionsAndAddedTokensLieBehind) {
  for (const char* name : {"small-bert-uncased", "small-t5"}) {
    GRAFT_SHARED_PATH(folder, std::string("data/tokenizers/") + name);
    const TempDir dir;
    const auto tokenizer = Tokenizer::from_pretrained(folder);
    tokenizer->add_tokens({"<new>"});
    tokenizer->save(dir / "larger");
    EXPECT_THAT(error_of([&] {
                  text::VocabularyFiles(dir / "larger").append({{"quite a piece"}, {}, {-1.0}});
                }),
                HasSubstr("added tokens lie behind the vocabulary"))
        << name;
  }
}

TEST(NewPieces, OfWholeWordsAreRefused) {
  const TempDir dir;
  const fs::path file =
      dir.write("m/tokenizer.json", R"({"version": "1.0", "added_tokens": [], "normalizer": null,
      "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null, "decoder": null,
      "model": {"type": "WordLevel", "vocab": {"a": 0, "[UNK]": 1}, "unk_token": "[UNK]"}})");
  const auto tokenizer = Tokenizer::from_pretrained(file.parent_path());
  EXPECT_THAT(error_of([&] { learn_pieces(dir.write("t.txt", "a b\n"), *tokenizer, 3, dir / "scratch"); }),
              HasSubstr("WordLevel"));
}

}  // namespace
}  // namespace graft::transfer
