// Checks the tokenizer's ids against the rows of the model's embedding.
#pragma once
#include <cstdint>
#include <string>

#include "graft/model.h"
#include "graft/tokenizer.h"

namespace graft::tasks {

int64_t embedding_rows(const Model& model);

// Warns if the tokenizer has ids without a row. As in the reference they may exist but not be used.
void warn_of_excess_tokens(const Model& model, const Tokenizer& tokenizer);
// Throws Error with the token of the first id without a row. `where`, if not empty, is the prefix of the
// message.
void check_ids(const int32_t* ids, size_t count, const Model& model, const Tokenizer& tokenizer,
               const std::string& where);

}  // namespace graft::tasks
