// Byte-pair encoding against a plain twin: look at all pairs, merge the lowest rank, begin again.
#include "text/bpe.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <limits>
#include <map>

#include "base/philox.h"

namespace graft::text {
namespace {

struct BpeCase {
  const char* name;
  BpeOptions options;
};

void PrintTo(const BpeCase& c, std::ostream* out) { *out << c.name; }

Vocab vocab_of(const std::vector<std::string>& tokens) {
  Vocab vocab;
  for (size_t i = 0; i < tokens.size(); ++i) EXPECT_TRUE(vocab.add(tokens[i], static_cast<int32_t>(i)));
  return vocab;
}

const std::vector<std::string> kLetters = {"a", "b", "c", "d", "\u00e9", "\u4f60", "\u597d", "\U0001f600"};

// A vocabulary and merges as training could make them.
struct BpeTable {
  std::vector<std::string> tokens;
  std::vector<std::pair<std::string, std::string>> merges;
  size_t singles = 0;  // tokens before the first that a merge makes

  BpeTable(const BpeOptions& options, PhiloxStream& random) {
    for (const std::string& letter : kLetters) {
      add(letter);
      if (!options.prefix.empty()) add(options.prefix + letter);
      if (!options.suffix.empty()) {
        add(letter + options.suffix);
        if (!options.prefix.empty()) add(options.prefix + letter + options.suffix);
      }
    }
    if (!options.unk_token.empty()) add(options.unk_token);
    if (options.byte_fallback)
      for (int b = 0; b < 256; ++b) add(fmt::format("<0x{:02X}>", b));
    singles = tokens.size();
    // Two of the bytes occur, those of the letter that has no token.
    std::vector<std::string> parts;
    for (const std::string& t : tokens)
      if (t.substr(0, 3) != "<0x" || t == "<0xC3>" || t == "<0x9F>") parts.push_back(t);
    for (int tries = 0; tries < 400; ++tries) {
      const std::string a = parts[random.below(parts.size())], b = parts[random.below(parts.size())];
      const bool a_ends = !options.suffix.empty() && a.ends_with(options.suffix);
      const bool b_starts = !options.prefix.empty() && !b.starts_with(options.prefix);
      if (a_ends || b_starts || !add(a + b.substr(options.prefix.size()))) continue;
      parts.push_back(tokens.back());
      merges.emplace_back(a, b);
    }
    // Any order of ranks must do.
    for (size_t i = merges.size(); i > 1; --i) std::swap(merges[i - 1], merges[random.below(i)]);
  }
  bool add(const std::string& token) {
    for (const std::string& t : tokens)
      if (t == token) return false;
    tokens.push_back(token);
    return true;
  }
};

// The twin's symbols: strings with their bytes in the word.
struct Symbol {
  std::string text;
  int32_t begin, end;
};

class PlainBpe {
 public:
  PlainBpe(const BpeTable& table, const BpeOptions& options) : options_(options) {
    for (size_t i = 0; i < table.tokens.size(); ++i) ids_[table.tokens[i]] = static_cast<int32_t>(i);
    for (size_t i = 0; i < table.merges.size(); ++i) ranks_[table.merges[i]] = i;
  }

  std::vector<Piece> tokenize(const std::vector<std::string>& letters) const {
    std::vector<Symbol> symbols = split(letters);
    for (;;) {
      size_t best = 0, rank = std::numeric_limits<size_t>::max();
      for (size_t i = 0; i + 1 < symbols.size(); ++i) {
        const auto it = ranks_.find({symbols[i].text, symbols[i + 1].text});
        if (it != ranks_.end() && it->second < rank) {
          best = i;
          rank = it->second;
        }
      }
      if (rank == std::numeric_limits<size_t>::max()) break;
      symbols[best].text += symbols[best + 1].text.substr(options_.prefix.size());
      symbols[best].end = symbols[best + 1].end;
      symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(best) + 1);
    }
    std::vector<Piece> out;
    for (const Symbol& s : symbols) out.push_back({ids_.at(s.text), s.begin, s.end});
    return out;
  }

 private:
  std::vector<Symbol> split(const std::vector<std::string>& letters) const {
    std::vector<Symbol> out;
    int32_t at = 0;
    bool after_unknown = false;
    for (size_t i = 0; i < letters.size(); ++i) {
      const std::string& letter = letters[i];
      const auto size = static_cast<int32_t>(letter.size());
      std::string text = i > 0 ? options_.prefix + letter : letter;
      if (i + 1 == letters.size()) text += options_.suffix;
      const bool known = ids_.count(text) > 0;
      if (known) {
        out.push_back({text, at, at + size});
      } else if (options_.byte_fallback) {
        for (int32_t k = 0; k < size; ++k) {
          const auto byte = static_cast<unsigned char>(letter[static_cast<size_t>(k)]);
          out.push_back({fmt::format("<0x{:02X}>", byte), at + k, at + k + 1});
        }
      } else if (options_.unk_token.empty()) {
        continue;  // nothing stands for it
      } else if (after_unknown && options_.fuse_unk) {
        out.back().end += size;
      } else {
        out.push_back({options_.unk_token, at, at + size});
      }
      after_unknown = !known;
      at += size;
    }
    return out;
  }

  const BpeOptions& options_;
  std::map<std::string, int32_t> ids_;
  std::map<std::pair<std::string, std::string>, size_t> ranks_;
};

class BpeTwin : public testing::TestWithParam<BpeCase> {};

TEST_P(BpeTwin, CutsWordsOfAnyLengthTheSame) {
  const BpeOptions& options = GetParam().options;
  size_t merged = 0;
  for (uint64_t seed = 0; seed < 40; ++seed) {
    PhiloxStream random(philox_key(seed, 0, GetParam().name));
    const BpeTable table(options, random);
    Bpe::Merges merges(table.merges.begin(), table.merges.end());
    const auto bpe = make_bpe(vocab_of(table.tokens), merges, options, "test");
    const PlainBpe twin(table, options);
    for (const size_t length : {1, 2, 7, 39, 40, 41, 90, 300}) {
      std::vector<std::string> letters;
      std::string word;
      for (size_t i = 0; i < length; ++i) {
        letters.push_back(random.below(12) == 0 ? "\u00df" : kLetters[random.below(kLetters.size())]);
        word += letters.back();
      }
      Pieces got;
      bpe->tokenize(word, got);
      const std::vector<Piece> want = twin.tokenize(letters);
      ASSERT_EQ(got.size(), want.size()) << seed << ' ' << word;
      for (size_t i = 0; i < want.size(); ++i) {
        ASSERT_EQ(got[i].id, want[i].id) << seed << ' ' << word;
        ASSERT_EQ(got[i].begin, want[i].begin) << seed << ' ' << word;
        ASSERT_EQ(got[i].end, want[i].end) << seed << ' ' << word;
      }
      for (const Piece& piece : want) merged += static_cast<size_t>(piece.id) >= table.singles;
    }
  }
  EXPECT_GT(merged, 1000u);  // there was something to merge
}

INSTANTIATE_TEST_SUITE_P(
    All, BpeTwin,
    testing::Values(BpeCase{"nothing for the unknown", {}}, BpeCase{"unk", {"<unk>", "", ""}},
                    BpeCase{"fused unk", {"<unk>", "", "", true}},
                    BpeCase{"bytes", {"<unk>", "", "", true, true}}, BpeCase{"suffix", {"<unk>", "", "</w>"}},
                    BpeCase{"prefix", {"<unk>", "##", ""}}, BpeCase{"both", {"<unk>", "##", "</w>"}}));

}  // namespace
}  // namespace graft::text
