// The tokenizer's ids against the rows of the model's embedding.
#pragma once
#include <cstdint>
#include <string>

#include "graft/model.h"
#include "graft/tokenizer.h"

namespace graft::train {

int64_t embedding_rows(const Model& model);

// Warns where the tokenizer has ids without a row: as in the reference they may be there, but not be used.
void warn_of_excess_tokens(const Model& model, const Tokenizer& tokenizer);
// Error for the first id of `ids` without a row, with its token; `where` starts the message, where it is not
// empty.
void check_ids(const int32_t* ids, size_t count, const Model& model, const Tokenizer& tokenizer,
               const std::string& where);

}  // namespace graft::train
