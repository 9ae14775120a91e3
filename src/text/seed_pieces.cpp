// The first candidates of Unigram training: all prefixes of all suffixes of the words, sorted, so that equal
// ones are adjacent.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <map>
#include <unordered_set>

#include "base/error.h"
#include "base/threads.h"
#include "base/utf8.h"
#include "text/train_unigram.h"
#include "text/unicode.h"

namespace graft::text {
namespace {

// A suffix of a word: its position in the array of all characters.
struct Suffix {
  uint64_t key;  // the three characters of the current sort key
  uint32_t begin;
  uint16_t size, common;  // number of characters; number that it shares with the previous suffix
};

struct Candidate {
  int64_t score;
  uint32_t begin;
  int32_t length;
};

// Maps a score to one of 2048 bins, in order: the exponent and five bits of the mantissa.
size_t bin_of(int64_t score) {
  const auto s = static_cast<uint64_t>(score);
  const int exponent = 63 - __builtin_clzll(s | 1);
  const uint64_t mantissa = exponent >= 5 ? s >> (exponent - 5) : s << (5 - exponent);
  return static_cast<size_t>(exponent) * 32 + (mantissa & 31);
}

class SeedPieces {
 public:
  SeedPieces(const WordCounts& words, int32_t max_length)
      : max_length_(static_cast<size_t>(std::clamp(max_length, 1, int32_t{UINT16_MAX}))) {
    for (const auto& [word, count] : words) {
      for (size_t pos = 0; pos < word.size();) {
        text_.push_back(next_char(word, pos));
        weight_.push_back(count);
      }
      text_.push_back(0);
      weight_.push_back(0);
    }
    if (text_.size() > UINT32_MAX)
      fail_with("train on less text", "the distinct words have {} characters in all, more than 2^32",
                text_.size());
    sort();
  }

  // Characters, and at least about the `size` best substrings that occur more than once, unordered.
  std::vector<Candidate> candidates(size_t size) const {
    const auto n = static_cast<int64_t>(buckets_.size());
    std::vector<std::vector<int64_t>> bins(buckets_.size());
    parallel_for(n, [&](int64_t b) {
      std::vector<int64_t>& counts = bins[b];
      counts.assign(2048, 0);
      visit(buckets_[b], [&](const Candidate& c) { ++counts[bin_of(c.score)]; });
    });
    size_t lowest = 2048;
    for (size_t found = 0; lowest > 0 && found < size;)
      for (--lowest; const auto& counts : bins) found += static_cast<size_t>(counts[lowest]);
    std::vector<std::vector<Candidate>> chosen(buckets_.size());
    parallel_for(n, [&](int64_t b) {
      visit(buckets_[b], [&](const Candidate& c) {
        if (c.length == 1 || bin_of(c.score) >= lowest) chosen[b].push_back(c);
      });
    });
    std::vector<Candidate> all;
    for (const auto& part : chosen) all.insert(all.end(), part.begin(), part.end());
    return all;
  }

  std::string text(const Candidate& c) const {
    std::string out;
    for (int32_t i = 0; i < c.length; ++i) utf8::append(out, text_[c.begin + static_cast<size_t>(i)]);
    return out;
  }

 private:
  struct Bucket {  // suffixes with the same first character
    size_t begin, end;
  };

  void sort() {
    std::map<char32_t, size_t> counts;
    for (const char32_t c : text_)
      if (c) ++counts[c];
    size_t total = 0;
    for (auto& [c, count] : counts) {
      buckets_.push_back({total, total + count});
      total += count;
      count = buckets_.back().begin;
    }
    suffixes_.resize(total);
    size_t size = 0;
    for (size_t p = text_.size(); p-- > 0;) {
      size = text_[p] ? size + 1 : 0;
      if (text_[p])
        suffixes_[counts[text_[p]]++] = {0, static_cast<uint32_t>(p),
                                         static_cast<uint16_t>(std::min(size, max_length_)), 0};
    }
    parallel_for(static_cast<int64_t>(buckets_.size()), [&](int64_t b) {
      Suffix *first = suffixes_.data() + buckets_[b].begin, *last = suffixes_.data() + buckets_[b].end;
      sort_range(first, last, 1);
      for (Suffix* s = first + 1; s < last; ++s) s->common = common(s[-1], s[0]);
    });
  }

  // Sorts suffixes whose first `depth` characters are the same.
  void sort_range(Suffix* first, Suffix* last, size_t depth) {
    for (Suffix* s = first; s < last; ++s) {
      s->key = 0;
      for (size_t i = depth; i < depth + 3; ++i)
        s->key = s->key << 21 | (i < s->size ? text_[s->begin + i] : char32_t{0});
    }
    std::sort(first, last, [](const Suffix& a, const Suffix& b) {
      return a.key != b.key ? a.key < b.key : a.begin < b.begin;
    });
    if (depth + 3 >= max_length_) return;
    while (first < last) {
      Suffix* end = first + 1;
      while (end < last && end->key == first->key) ++end;
      if (end - first > 1 && (first->key & 0x1FFFFF)) sort_range(first, end, depth + 3);
      first = end;
    }
  }

  uint16_t common(const Suffix& a, const Suffix& b) const {
    const uint16_t most = std::min(a.size, b.size);
    uint16_t n = 1;
    while (n < most && text_[a.begin + n] == text_[b.begin + n]) ++n;
    return n;
  }

  // Calls see(candidate) for the bucket's character and for every distinct prefix of its suffixes that occurs
  // more than once.
  template <class See>
  void visit(const Bucket& bucket, See see) const {
    // [n]: occurrences before the first suffix with n characters
    std::vector<int64_t> before(max_length_ + 1, 0);
    int64_t count = 0;
    const auto close = [&](const Suffix& s, size_t common) {
      for (size_t length = common + 1; length <= s.size; ++length)
        if (const int64_t n = count - before[length]; n >= 2 || length == 1)
          see(Candidate{n * static_cast<int64_t>(length), s.begin, static_cast<int32_t>(length)});
    };
    for (size_t i = bucket.begin; i < bucket.end; ++i) {
      const Suffix& s = suffixes_[i];
      if (i > bucket.begin) close(suffixes_[i - 1], s.common);
      for (size_t length = s.common + size_t{1}; length <= s.size; ++length) before[length] = count;
      count += weight_[s.begin];
    }
    close(suffixes_[bucket.end - 1], 0);
  }

  size_t max_length_;
  std::vector<char32_t> text_;  // all words, each followed by a zero
  std::vector<int64_t> weight_;
  std::vector<Suffix> suffixes_;
  std::vector<Bucket> buckets_;
};

}  // namespace

std::vector<ScoredPiece> seed_pieces(const WordCounts& words, const UnigramTrainerOptions& options) {
  const SeedPieces seeds(words, options.max_piece_length);
  const auto wanted = static_cast<size_t>(options.seed_size);
  std::vector<Candidate> candidates = seeds.candidates(wanted);
  const auto is_better = [](const Candidate& a, const Candidate& b) {
    if ((a.length == 1) != (b.length == 1)) return a.length == 1;  // all characters are kept
    if (a.score != b.score) return a.score > b.score;
    return a.length != b.length ? a.length > b.length : a.begin < b.begin;
  };
  std::sort(candidates.begin(), candidates.end(), is_better);
  if (candidates.size() > wanted) candidates.resize(wanted);
  double sum = 0;
  for (const Candidate& c : candidates) sum += static_cast<double>(c.score);
  std::vector<ScoredPiece> pieces;
  std::unordered_set<std::string> seen;
  for (const Candidate& c : candidates) {
    pieces.push_back({seeds.text(c), std::log(static_cast<double>(c.score)) - std::log(sum)});
    if (c.length == 1) seen.insert(pieces.back().text);
  }
  for (const std::string& c : options.alphabet)  // characters that are only in options.alphabet
    if (!seen.count(c)) pieces.push_back({c, -std::log(sum)});
  return pieces;
}

}  // namespace graft::text
