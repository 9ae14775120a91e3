// Virtual tokens before every sequence of a frozen model, of which the embeddings are trained (prompt tuning,
// Lester et al. 2021), or the keys and values of every layer (prefix tuning, Li and Liang 2021). Their ids
// follow those of the vocabulary; positions count them, and their token type is 0.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "models/network.h"

namespace graft::models {

struct State;

// The name of their embeddings [num_virtual_tokens, width], or of their keys and values [num_virtual_tokens,
// layers * 2 * width], in a model and in files.
inline constexpr const char* kPromptEmbeddings = "prompt_embeddings";

// The batch with the ids first, ..., first + count - 1 before the tokens of each sequence. Label rows move
// with their tokens; labels are left out. For batches of one stream.
data::RaggedBatch with_virtual_tokens(const data::RaggedBatch& batch, int32_t first, int32_t count);
// The inputs of such a batch with arrays on the tape, where `batch` holds the keys of the sequences.
Inputs inputs_on_tape(engine::Tape& tape, const data::RaggedBatch& longer, const data::RaggedBatch& batch);
// The rows of such a batch that are no virtual tokens.
std::vector<int32_t> text_rows(const data::RaggedBatch& longer, int32_t count);

// Declares the embeddings, or with `prefix` the keys and values, in the model's open store and connects them
// with its encoder. Throws Error for a model_type or a task without such tokens and for a model without
// positions for them.
void declare_virtual_tokens(State& state, int64_t count, bool prefix);
// Copies the word embeddings of `ids` to them, which are repeated or cut to their number, as peft does.
void start_from_words(State& state, const std::vector<int32_t>& ids);

}  // namespace graft::models
