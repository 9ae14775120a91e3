// Pieces for the words of a text that a vocabulary lacks.
#pragma once
#include <cstdint>
#include <filesystem>
#include <vector>

#include "graft/tokenizer.h"
#include "text/vocabulary_files.h"

namespace graft::transfer {

struct LearnedPieces {
  text::AddedPieces added;
  std::vector<std::vector<int32_t>> parts;  // of each, in the old vocabulary
  int32_t first_id = 0;                     // of the first piece
};

// At most `wanted` pieces of two characters or more for the words of `text`, a file of lines. What occurs
// less than three times is not merged.
//   WordPiece: the first that a new vocabulary learns from the text and the old one lacks.
//   BPE: merges that go on from the old ones, learned on the words as the old ones cut them; so a text
//   without
//        the new pairs keeps its pieces.
//   Unigram: the likeliest of a new vocabulary that the old one lacks and that are likelier than their best
//   cut
//        by the old one. Their scores are not below its lowest, from which the score of the unknown derives.
// `scratch`: a folder for files, removed afterwards. Throws Error for another type of model.
LearnedPieces learn_pieces(const std::filesystem::path& text, const Tokenizer& tokenizer, int64_t wanted,
                           const std::filesystem::path& scratch);

}  // namespace graft::transfer
