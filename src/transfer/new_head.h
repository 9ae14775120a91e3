// The head for the objective of a checkpoint that has none.
#pragma once
#include <filesystem>
#include <vector>

#include "graft/model.h"
#include "graft/tokenizer.h"

namespace graft::transfer {

// Whether loading the model made parameters of a head.
bool has_new_head(const Model& model);

// Sets a new head's bias of each output to the logarithm of its token's frequency in files of lines, of
// which the first megabytes are read: the head then starts from the entropy of single tokens and not from
// that of the whole vocabulary. A head without such a bias stays as it is.
void start_from_frequencies(const Model& model, const Tokenizer& tokenizer,
                            const std::vector<std::filesystem::path>& files);

}  // namespace graft::transfer
