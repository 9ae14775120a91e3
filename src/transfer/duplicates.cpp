#include "transfer/duplicates.h"

#include <algorithm>
#include <limits>

#include "transfer/words.h"

namespace graft::transfer {
namespace {

size_t num_shingles(const std::vector<uint64_t>& words) {
  return words.size() < kShingle ? 1 : words.size() - kShingle + 1;
}

uint64_t shingle(const std::vector<uint64_t>& words, size_t i) {
  return hash_of_words(words, i, std::min(kShingle, words.size()));
}

std::vector<uint64_t> shingle_set(const std::vector<uint64_t>& words) {
  std::vector<uint64_t> set(num_shingles(words));
  for (size_t i = 0; i < set.size(); ++i) set[i] = shingle(words, i);
  std::sort(set.begin(), set.end());
  set.erase(std::unique(set.begin(), set.end()), set.end());
  return set;
}

double jaccard_of_sets(const std::vector<uint64_t>& a, const std::vector<uint64_t>& b) {
  size_t common = 0;
  for (size_t i = 0, j = 0; i < a.size() && j < b.size();) {
    common += a[i] == b[j];
    const bool move_i = a[i] <= b[j], move_j = b[j] <= a[i];
    i += move_i, j += move_j;
  }
  return static_cast<double>(common) / static_cast<double>(a.size() + b.size() - common);
}

// Lines of eight places, four places a text of 200 bytes, within bounds.
uint64_t lines_for(uint64_t bytes) {
  constexpr uint64_t kFewest = uint64_t{1} << 9, kMost = uint64_t{1} << 19;
  uint64_t lines = kFewest;
  while (lines < kMost && lines < bytes / 400) lines *= 2;
  return lines;
}

}  // namespace

double jaccard(std::string_view a, std::string_view b) {
  std::vector<uint64_t> words_a, words_b;
  word_hashes(a, words_a);
  word_hashes(b, words_b);
  return jaccard_of_sets(shingle_set(words_a), shingle_set(words_b));
}

DuplicateFinder::DuplicateFinder(const LineFile& texts, uint64_t expected_bytes, double threshold)
    : texts_(texts), threshold_(threshold), mask_(lines_for(expected_bytes) - 1) {
  const Slot empty = {kEmpty, 0};
  exact_.assign((mask_ + 1) * kPlaces, empty);
  if (threshold_ <= 1)
    for (std::vector<Slot>& band : bands_) band.assign((mask_ + 1) * kPlaces, empty);
}

Duplicate DuplicateFinder::find(std::string_view text, const std::vector<uint64_t>& words) {
  exact_hash_ = hash_of_text(text, 0);
  const auto may_be = [](const Slot& s, uint64_t hash) {
    return s.position != kEmpty && s.check == hash >> 40;
  };
  const Slot* const equal = places(exact_, exact_hash_);
  for (size_t i = 0; i < kPlaces; ++i)
    if (may_be(equal[i], exact_hash_) && texts_.read(equal[i].position) == text) return Duplicate::exact;
  has_words_ = !words.empty();
  if (threshold_ > 1 || !has_words_) return Duplicate::none;

  std::array<uint64_t, kBands * kRows> least;
  least.fill(std::numeric_limits<uint64_t>::max());
  const size_t n = num_shingles(words);
  for (size_t i = 0; i < n; ++i) {
    const uint64_t hash = shingle(words, i);
    // Hash functions as multiplications by odd numbers: the upper bits of a product depend on all of `hash`.
    uint64_t factor = 0x9e3779b97f4a7c15ULL;
    for (uint64_t& value : least) {
      value = std::min(value, hash * factor);
      factor = factor * 6364136223846793005ULL + 1442695040888963406ULL;  // stays odd
    }
  }
  std::vector<uint64_t> set;
  for (size_t b = 0; b < kBands; ++b) {
    uint64_t hash = b;
    for (size_t r = 0; r < kRows; ++r) hash = mixed(hash ^ least[b * kRows + r]);
    band_hashes_[b] = hash;
  }
  std::vector<uint64_t> other_words, seen;
  for (size_t b = 0; b < kBands; ++b) {
    const Slot* const like = places(bands_[b], band_hashes_[b]);
    for (size_t i = 0; i < kPlaces; ++i) {
      if (!may_be(like[i], band_hashes_[b]) ||
          std::find(seen.begin(), seen.end(), like[i].position) != seen.end())
        continue;
      seen.push_back(like[i].position);
      word_hashes(texts_.read(like[i].position), other_words);
      if (set.empty()) set = shingle_set(words);
      if (jaccard_of_sets(set, shingle_set(other_words)) >= threshold_) return Duplicate::near;
    }
  }
  return Duplicate::none;
}

void DuplicateFinder::put(std::vector<Slot>& table, uint64_t hash, uint64_t position) const {
  Slot* const all = places(table, hash);
  Slot* free = std::find_if(all, all + kPlaces, [](const Slot& s) { return s.position == kEmpty; });
  if (free == all + kPlaces) free = all + (hash >> 61);
  *free = {position, hash >> 40};
}

void DuplicateFinder::add(uint64_t position) {
  if (position >= kEmpty) return;  // beyond a terabyte: no longer looked at
  put(exact_, exact_hash_, position);
  if (threshold_ > 1 || !has_words_) return;
  for (size_t b = 0; b < kBands; ++b) put(bands_[b], band_hashes_[b], position);
}

uint64_t DuplicateFinder::memory() const {
  return (exact_.size() + (threshold_ <= 1 ? kBands * exact_.size() : 0)) * sizeof(Slot);
}

}  // namespace graft::transfer
