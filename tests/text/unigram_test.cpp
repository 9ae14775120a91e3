// Unigram against a plain twin that keeps the whole word in memory.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <map>

#include "base/philox.h"
#include "text/model.h"

namespace graft::text {
namespace {

struct UnigramTable {
  std::vector<std::string> tokens = {"<unk>"};
  std::vector<double> scores = {0};

  UnigramTable(bool bytes, PhiloxStream& random) {
    const std::vector<std::string> letters = {"a", "b", "c", "\u00e9", "\u4f60"};
    for (const std::string& letter : letters) add(letter, random);
    if (bytes)
      for (int b = 0; b < 256; ++b) add(fmt::format("<0x{:02X}>", b), random);
    for (int i = 0; i < 40; ++i) {
      std::string token;
      for (size_t k = 0; k < 2 + random.below(4); ++k) token += letters[random.below(letters.size())];
      add(token, random);
    }
  }
  void add(const std::string& token, PhiloxStream& random) {
    for (const std::string& t : tokens)
      if (t == token) return;
    tokens.push_back(token);
    scores.push_back(-1 - 10 * random.uniform());
  }
};

std::vector<Piece> unigram_twin(const UnigramTable& table, bool bytes, const std::string& word) {
  double lowest = 0;
  std::map<std::string, int32_t> ids;
  for (size_t i = 0; i < table.tokens.size(); ++i) {
    ids[table.tokens[i]] = static_cast<int32_t>(i);
    lowest = std::min(lowest, table.scores[i]);
  }
  struct Node {
    double score = -std::numeric_limits<double>::infinity();
    size_t begin = 0;
    int32_t id = 0;
  };
  std::vector<Node> best(word.size() + 1);
  best[0].score = 0;
  const auto length = [&](size_t i) { return (word[i] & 0x80) == 0 ? 1u : (word[i] & 0x20) == 0 ? 2u : 3u; };
  for (size_t begin = 0; begin < word.size(); begin += length(begin)) {
    bool has_single = false;
    for (size_t end = begin + length(begin); end <= std::min(word.size(), begin + 18);
         end += end < word.size() ? length(end) : 1) {
      const auto it = ids.find(word.substr(begin, end - begin));
      if (it == ids.end()) continue;
      has_single |= end == begin + length(begin);
      const double score = best[begin].score + table.scores[static_cast<size_t>(it->second)];
      if (score > best[end].score) best[end] = {score, begin, it->second};
    }
    Node& next = best[begin + length(begin)];
    const double unknown = best[begin].score + (lowest - 10);
    if (!has_single && unknown > next.score) next = {unknown, begin, 0};
  }
  std::vector<Piece> path, out;
  for (size_t end = word.size(); end > 0; end = best[end].begin)
    path.push_back({best[end].id, static_cast<int32_t>(best[end].begin), static_cast<int32_t>(end)});
  std::reverse(path.begin(), path.end());
  for (const Piece& p : path) {
    if (p.id == 0 && !out.empty() && out.back().id == 0)
      out.back().end = p.end;
    else
      out.push_back(p);
  }
  if (!bytes) return out;
  path.swap(out);
  out.clear();
  for (const Piece& p : path) {
    if (p.id != 0) out.push_back(p);
    for (int32_t i = p.begin; p.id == 0 && i < p.end; ++i)
      out.push_back(
          {ids.at(fmt::format("<0x{:02X}>", static_cast<unsigned char>(word[static_cast<size_t>(i)]))),
           p.begin, p.end});
  }
  return out;
}

class UnigramTwin : public testing::TestWithParam<bool> {};

// Words longer than the stretch that is in memory at once, with runs of unknown characters across its end.
TEST_P(UnigramTwin, CutsWordsOfAnyLengthTheSame) {
  const bool bytes = GetParam();
  for (uint64_t seed = 0; seed < 6; ++seed) {
    PhiloxStream random(philox_key(seed, 0, bytes ? "bytes" : "unk"));
    const UnigramTable table(bytes, random);
    Vocab vocab;
    for (size_t i = 0; i < table.tokens.size(); ++i)
      ASSERT_TRUE(vocab.add(table.tokens[i], static_cast<int32_t>(i)));
    const auto unigram = make_unigram(std::move(vocab), table.scores, {0, bytes}, "test");
    for (const size_t size : {1, 5, 60, 4000, 4096, 4100, 9000, 20000}) {
      std::string word;
      const size_t unknown_run = random.below(2) == 0 ? 1 : 3000;
      while (word.size() < size) {
        const size_t kind = random.below(60);
        if (kind == 0)
          for (size_t i = 0; i < unknown_run; ++i) word += "\u00df";
        else
          word += std::vector<std::string>{"a", "b", "c", "\u00e9", "\u4f60"}[kind % 5];
      }
      Pieces got;
      got.push_back({0, 0, 1});  // of the word before: is left alone
      unigram->tokenize(word, got);
      const std::vector<Piece> want = unigram_twin(table, bytes, word);
      ASSERT_EQ(got.size(), want.size() + 1) << seed << ' ' << size;
      for (size_t i = 0; i < want.size(); ++i) {
        ASSERT_EQ(got[i + 1].id, want[i].id) << seed << ' ' << size << ' ' << i;
        ASSERT_EQ(got[i + 1].begin, want[i].begin) << seed << ' ' << size << ' ' << i;
        ASSERT_EQ(got[i + 1].end, want[i].end) << seed << ' ' << size << ' ' << i;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, UnigramTwin, testing::Bool());

}  // namespace
}  // namespace graft::text
