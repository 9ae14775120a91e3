// From scores of tokens to entities, as the reference's TokenClassificationPipeline (transformers 5.24).
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "data/tag_scheme.h"
#include "graft/token_classification.h"

namespace graft::train {

// A token of a text with its scores over the labels.
struct ScoredToken {
  std::string token;  // of the vocabulary
  const float* scores = nullptr;
  int64_t start = 0, end = 0;  // code points of the text
  int64_t index = 0;           // in the encoding
  bool continues = false;      // the word of the token before it (is_subword)
};

// A word (or, without words, a token) with its label.
struct LabelledPart {
  int label = 0;
  double score = 0;
  int64_t start = 0, end = 0;
};

// The label of each word by `aggregation` (first, average, max), or of each token (none, simple).
std::vector<LabelledPart> label_parts(const std::vector<ScoredToken>& tokens, size_t num_labels,
                                      Aggregation aggregation);
// Adjacent parts with one type, of which the later ones do not begin an entity, are one entity; O is left
// out. The words of the entities are cut out of `text`. E-, L- continue an entity, S- and U- begin one; the
// reference does not know these.
std::vector<TextEntity> group_parts(const std::vector<LabelledPart>& parts,
                                    const std::vector<std::string>& labels, const std::string& text);
// The characters [begin, end) of a text.
std::string slice(const std::string& text, int64_t begin, int64_t end);

}  // namespace graft::train
