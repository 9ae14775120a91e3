#include "text/train_bpe.h"

#include <algorithm>
#include <queue>
#include <unordered_map>
#include <unordered_set>

#include "base/utf8.h"
#include "text/unicode.h"

namespace graft::text {
namespace {

uint64_t make_pair_key(int32_t a, int32_t b) {
  return uint64_t{static_cast<uint32_t>(a)} << 32 | static_cast<uint32_t>(b);
}

struct PairHash {
  size_t operator()(uint64_t key) const { return (key ^ key >> 31) * 0x9E3779B97F4A7C15u >> 7; }
};

struct PairInfo {
  int64_t count = 0;
  std::vector<int32_t> words;  // words in which the pair occurs or occurred before a merge
};

// A word: its pieces in one shared array, and how often it occurs.
struct TrainWord {
  uint64_t begin;
  int32_t size;
  int64_t count;
};

class Trainer {
 public:
  Trainer(const WordCounts& counts, const BpeTrainerOptions& options) : options_(options) {
    for (const std::string& token : options.special_tokens) id_of(token);
    alphabet_ = choose_alphabet(counts, options.limit_alphabet, options.initial_alphabet);
    for (const std::string& c : alphabet_) id_of(c);
    if (!options.prefix.empty()) add_inner_characters(counts);
    make_words(counts);
  }
  Trainer(std::vector<std::string> tokens, const std::vector<CountedPieces>& words,
          const BpeTrainerOptions& options)
      : options_(options), tokens_(std::move(tokens)) {
    for (size_t id = 0; id < tokens_.size(); ++id) ids_.emplace(tokens_[id], static_cast<int32_t>(id));
    for (const CountedPieces& word : words) {
      const uint64_t begin = symbols_.size();
      symbols_.insert(symbols_.end(), word.pieces.begin(), word.pieces.end());
      add_word({begin, static_cast<int32_t>(word.pieces.size()), word.count});
    }
  }

  TrainedBpe run() {
    for (auto& [key, info] : pairs_) queue_.push({info.count, key});
    while (static_cast<int32_t>(tokens_.size()) < options_.vocab_size && !queue_.empty()) {
      const Candidate top = queue_.top();
      queue_.pop();
      const auto it = pairs_.find(top.pair);
      const int64_t count = it == pairs_.end() ? 0 : it->second.count;
      if (count != top.count) {  // its count has decreased since it was queued
        if (count > 0) queue_.push({count, top.pair});
        continue;
      }
      if (count < 1 || count < options_.min_frequency) break;
      merge(top.pair, it->second);
    }
    return {std::move(tokens_), std::move(merges_)};
  }

 private:
  struct Candidate {
    int64_t count;
    uint64_t pair;
    bool operator<(const Candidate& other) const {
      return count != other.count ? count < other.count : pair > other.pair;
    }
  };

  int32_t id_of(const std::string& token) {
    const auto [it, is_new] = ids_.emplace(token, static_cast<int32_t>(tokens_.size()));
    if (is_new) tokens_.push_back(token);
    return it->second;
  }

  // "##x" for every character that occurs inside a word, in the order of the characters.
  void add_inner_characters(const WordCounts& counts) {
    std::unordered_set<std::string> inner;
    for (const auto& [word, count] : counts)
      for (size_t pos = sequence_length(word[0]); pos < word.size();) {
        const size_t begin = pos;
        next_char(word, pos);
        inner.insert(word.substr(begin, pos - begin));
      }
    for (const std::string& c : alphabet_)
      if (inner.count(c)) id_of(options_.prefix + c);
  }

  void make_words(const WordCounts& counts) {
    const std::unordered_set<std::string> alphabet(alphabet_.begin(), alphabet_.end());
    for (const auto& [word, count] : counts) {
      TrainWord w{symbols_.size(), 0, count};
      for (size_t pos = 0; pos < word.size();) {
        const size_t begin = pos;
        next_char(word, pos);
        const std::string c = word.substr(begin, pos - begin);
        if (!alphabet.count(c)) continue;  // not in the limited alphabet: ignored
        symbols_.push_back(begin > 0 && !options_.prefix.empty() ? id_of(options_.prefix + c) : id_of(c));
        ++w.size;
      }
      add_word(w);
    }
  }

  void add_word(const TrainWord& w) {
    words_.push_back(w);
    for (int32_t i = 0; i + 1 < w.size; ++i) add_pair(static_cast<int32_t>(words_.size()) - 1, i);
  }

  void add_pair(int32_t word, int32_t i) {
    const TrainWord& w = words_[word];
    PairInfo& info = pairs_[make_pair_key(symbols_[w.begin + i], symbols_[w.begin + i + 1])];
    info.count += w.count;
    if (info.words.empty() || info.words.back() != word) info.words.push_back(word);
  }

  void merge(uint64_t pair, PairInfo& info) {
    const auto left = static_cast<int32_t>(pair >> 32), right = static_cast<int32_t>(pair & 0xFFFFFFFF);
    const std::string& a = tokens_[left];
    const std::string& b = tokens_[right];
    const bool prefixed =
        !options_.prefix.empty() && b.compare(0, options_.prefix.size(), options_.prefix) == 0;
    std::string merged = a + (prefixed ? b.substr(options_.prefix.size()) : b);
    if (options_.max_token_length > 0 &&
        count_chars(merged) > static_cast<size_t>(options_.max_token_length)) {
      info.count = 0;  // done
      return;
    }
    merges_.emplace_back(a, b);
    const int32_t id = id_of(merged);
    std::vector<int32_t> where = std::move(info.words);
    touched_.clear();
    for (const int32_t word : where) merge_in_word(word, left, right, id);
    std::sort(touched_.begin(), touched_.end());
    touched_.erase(std::unique(touched_.begin(), touched_.end()), touched_.end());
    for (const uint64_t key : touched_)
      if (const int64_t count = pairs_[key].count; count > 0) queue_.push({count, key});
    if (pairs_[pair].count == 0) pairs_.erase(pair);
  }

  // Replaces the pair from left to right and updates the counts of the neighbouring pairs.
  void merge_in_word(int32_t word, int32_t left, int32_t right, int32_t id) {
    TrainWord& w = words_[word];
    int32_t* s = symbols_.data() + w.begin;
    int32_t first = 0;
    while (first + 1 < w.size && !(s[first] == left && s[first + 1] == right)) ++first;
    if (first + 1 >= w.size) return;
    const int32_t from = std::max(0, first - 1);
    for (int32_t i = from; i + 1 < w.size; ++i) pairs_[make_pair_key(s[i], s[i + 1])].count -= w.count;
    int32_t write = first;
    for (int32_t read = first; read < w.size; ++write) {
      const bool hit = read + 1 < w.size && s[read] == left && s[read + 1] == right;
      s[write] = hit ? id : s[read];
      read += hit ? 2 : 1;
    }
    w.size = write;
    for (int32_t i = from; i + 1 < w.size; ++i) {
      const uint64_t key = make_pair_key(s[i], s[i + 1]);
      PairInfo& info = pairs_[key];
      info.count += w.count;
      if (s[i] != id && s[i + 1] != id) continue;
      if (info.words.empty() || info.words.back() != word) info.words.push_back(word);
      touched_.push_back(key);
    }
  }

  const BpeTrainerOptions& options_;
  std::vector<std::string> alphabet_, tokens_;
  std::unordered_map<std::string, int32_t> ids_;
  std::vector<TrainWord> words_;
  std::vector<int32_t> symbols_;
  std::unordered_map<uint64_t, PairInfo, PairHash> pairs_;
  std::priority_queue<Candidate> queue_;
  std::vector<std::pair<std::string, std::string>> merges_;
  std::vector<uint64_t> touched_;
};

}  // namespace

std::vector<std::string> choose_alphabet(const WordCounts& words, int32_t limit,
                                         const std::vector<std::string>& initial) {
  std::unordered_map<char32_t, int64_t> counts;
  for (const auto& [word, count] : words)
    for (size_t pos = 0; pos < word.size();) counts[next_char(word, pos)] += count;
  for (const std::string& c : initial) {
    size_t pos = 0;
    if (!c.empty()) counts[next_char(c, pos)] = INT64_MAX;
  }
  std::vector<std::pair<char32_t, int64_t>> all(counts.begin(), counts.end());
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) {
    return a.second != b.second ? a.second > b.second : a.first < b.first;
  });
  if (limit > 0 && all.size() > static_cast<size_t>(limit)) {
    const auto kept = std::max<size_t>(static_cast<size_t>(limit), initial.size());
    all.resize(std::min(all.size(), kept));
  }
  std::sort(all.begin(), all.end());
  std::vector<std::string> out;
  for (const auto& [c, count] : all) {
    std::string text;
    utf8::append(text, c);
    out.push_back(std::move(text));
  }
  return out;
}

TrainedBpe train_bpe(const WordCounts& words, const BpeTrainerOptions& options) {
  return Trainer(words, options).run();
}

TrainedBpe continue_bpe(std::vector<std::string> tokens, const std::vector<CountedPieces>& words,
                        const BpeTrainerOptions& options) {
  return Trainer(std::move(tokens), words, options).run();
}

}  // namespace graft::text
