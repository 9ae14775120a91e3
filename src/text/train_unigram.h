// Learns a Unigram vocabulary: expectation maximisation with pruning (Kudo 2018).
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "text/word_counts.h"

namespace graft::text {

struct UnigramTrainerOptions {
  int32_t vocab_size = 8000;      // pieces, without special tokens
  int32_t max_piece_length = 16;  // characters
  double shrinking_factor = 0.75;
  int32_t num_sub_iterations = 2;
  int32_t seed_size = 1000000;
  std::vector<std::string> alphabet;  // characters that are always pieces; other characters are ignored
};

struct ScoredPiece {
  std::string text;
  double score;  // log probability
};

// Pieces, best score first. The result does not depend on the number of threads.
std::vector<ScoredPiece> train_unigram(const WordCounts& words, const UnigramTrainerOptions& options);

// The initial candidates: characters, and substrings that occur more than once, ordered by frequency times
// length.
std::vector<ScoredPiece> seed_pieces(const WordCounts& words, const UnigramTrainerOptions& options);

}  // namespace graft::text
