// Learns byte-pair merges from counted words. A WordPiece vocabulary is made of the same merges.
#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "text/word_counts.h"

namespace graft::text {

struct BpeTrainerOptions {
  int32_t vocab_size = 30000;
  int64_t min_frequency = 0;
  std::vector<std::string> special_tokens;
  int32_t limit_alphabet = 0;  // 0: no limit
  std::vector<std::string> initial_alphabet;
  std::string prefix;  // prefix of pieces inside a word ("##"), may be empty
  int32_t max_token_length = 0;
};

struct TrainedBpe {
  std::vector<std::string> tokens;                          // by id
  std::vector<std::pair<std::string, std::string>> merges;  // in order
};

// Merges the most frequent pair until the vocabulary is full. Of equally frequent pairs, the one with the
// lowest ids is first.
TrainedBpe train_bpe(const WordCounts& words, const BpeTrainerOptions& options);

// A word as ids of pieces, and how often it occurs.
struct CountedPieces {
  std::vector<int32_t> pieces;
  int64_t count = 0;
};

// Goes on from a vocabulary: `tokens` by id, and words that its merges have cut. The result has the new
// tokens behind the old ones, and the new merges alone. options.vocab_size counts both.
TrainedBpe continue_bpe(std::vector<std::string> tokens, const std::vector<CountedPieces>& words,
                        const BpeTrainerOptions& options);

// The characters to keep, sorted: the most frequent `limit` and all of `initial`.
std::vector<std::string> choose_alphabet(const WordCounts& words, int32_t limit,
                                         const std::vector<std::string>& initial);

}  // namespace graft::text
