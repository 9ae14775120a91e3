// The pieces of a vocabulary that texts need.
#pragma once
#include <cstdint>
#include <vector>

#include "graft/tokenizer.h"
#include "text/vocabulary_files.h"
#include "transfer/prune.h"

namespace graft::transfer {

struct VocabularyChoice {
  std::vector<int32_t> ids;  // that stay, ascending
  int64_t tokens = 0, kept_tokens = 0;
};

// How often each id occurs in the texts, without the special tokens around a text.
std::vector<int64_t> count_pieces(const Tokenizer& tokenizer, const PruneOptions& options, bool lower_case);
// The required pieces and `fixed`, then the most frequent ones with their parts, ties by id.
VocabularyChoice choose_vocabulary(const text::VocabularyFiles& files, const std::vector<int64_t>& counts,
                                   const std::vector<int32_t>& fixed, const PruneOptions& options);

}  // namespace graft::transfer
