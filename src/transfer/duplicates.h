// Texts that occur more than once in a corpus, exactly or nearly. MinHash with banding (Broder 1997; Leskovec
// et al., "Mining of Massive Datasets", chapter 3) proposes earlier texts, and each proposal is verified by
// its exact Jaccard similarity, so that nothing is dropped because of a hash.
#pragma once
#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "transfer/line_file.h"

namespace graft::transfer {

enum class Duplicate : uint8_t { none, exact, near };

// The share of the runs of kShingle words that two texts have in common: |A and B| / |A or B|. Texts of fewer
// words have one run.
inline constexpr size_t kShingle = 5;
double jaccard(std::string_view a, std::string_view b);

// Memory is bounded: tables of fixed size, in which a text replaces an older one where its eight places are
// taken. Duplicates are then missed, and none is invented. The result is a function of the texts and their
// order.
class DuplicateFinder {
 public:
  // `texts`: where accepted texts are. `expected_bytes`: of the corpus, for the size of the tables.
  // `threshold`: Jaccard similarity from which on texts are near duplicates; above 1: exact ones alone.
  DuplicateFinder(const LineFile& texts, uint64_t expected_bytes, double threshold);

  // What `text` is to the texts that were added. `words`: its word_hashes.
  Duplicate find(std::string_view text, const std::vector<uint64_t>& words);
  // Adds the text that find() was last called with, which lies at `position`.
  void add(uint64_t position);
  uint64_t memory() const;

 private:
  static constexpr size_t kBands = 8, kRows = 4;
  // A position and some bits of the hash, which save most reads of other texts.
  struct Slot {
    uint64_t position : 40, check : 24;
  };
  static constexpr uint64_t kEmpty = (uint64_t{1} << 40) - 1;
  static constexpr size_t kPlaces = 8;  // of a hash: a line of the cache
  Slot* places(std::vector<Slot>& table, uint64_t hash) const {
    return table.data() + (hash & mask_) * kPlaces;
  }
  void put(std::vector<Slot>& table, uint64_t hash, uint64_t position) const;

  const LineFile& texts_;
  double threshold_;
  uint64_t mask_ = 0;  // of the number of lines
  std::vector<Slot> exact_;
  std::array<std::vector<Slot>, kBands> bands_;
  uint64_t exact_hash_ = 0;
  bool has_words_ = false;  // of the text of find()
  std::array<uint64_t, kBands> band_hashes_{};
};

}  // namespace graft::transfer
