// IBM model 1 (Brown et al. 1993): which pieces of one language stand for which pieces of another one,
// learned from pairs of sentences.
#pragma once
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace graft::transfer {

// Ids of the pieces of all sentences, end to end.
struct PieceSentences {
  std::vector<int32_t> ids;
  std::vector<int64_t> offsets{0};
  void add(const std::vector<int32_t>& sentence, size_t longest);
  int64_t size() const { return static_cast<int64_t>(offsets.size()) - 1; }
};

// For each id of `foreign` below `num_foreign` the pieces of `english` and their probabilities p(english |
// foreign), ascending by id; empty for an id that does not occur. Sentence i of one side belongs to sentence
// i of the other. Each English piece may also stem from no piece (NULL). The result does not depend on the
// number of threads.
using Translations = std::vector<std::vector<std::pair<int32_t, float>>>;
Translations align_pieces(const PieceSentences& english, int32_t num_english, const PieceSentences& foreign,
                          int32_t num_foreign, int rounds = 4);

}  // namespace graft::transfer
