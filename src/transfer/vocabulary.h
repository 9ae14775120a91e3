// New pieces for the words of a domain. Each starts as the mean of the embeddings of the pieces that it was
// cut into before, so that the model's first outputs are close to the old ones.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "graft/train_tokenizer.h"
#include "transfer/pretraining.h"

namespace graft::transfer {

struct ExtendedVocabulary {
  int64_t added = 0;
  std::vector<std::string> examples{};                           // the first pieces
  double tokens_per_word_before = 0, tokens_per_word_after = 0;  // on the corpus
  double unknown_before = 0, unknown_after = 0;                  // shares of the tokens
};

// Writes the model in `from` with at most `pieces` more pieces to `to`: the files of the tokenizer, the
// embeddings and the bias of the decoder. The pieces are those of learn_pieces (transfer/new_pieces.h) for
// `text`, a file of lines. Throws Error for a tokenizer whose vocabulary has no pieces.
ExtendedVocabulary extend_vocabulary(const std::filesystem::path& from, const std::filesystem::path& text,
                                     int64_t pieces, const Objective& objective,
                                     const std::filesystem::path& to);

void log_vocabulary(const ExtendedVocabulary& vocabulary);
Json to_json(const ExtendedVocabulary& vocabulary);
ExtendedVocabulary extended_vocabulary(const Json& json);

}  // namespace graft::transfer
