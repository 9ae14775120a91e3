// The maximum number of tokens of an example. 0 = no limit.
#pragma once
#include <cstdint>
#include <string>

#include "graft/model.h"
#include "graft/tokenizer.h"

namespace graft::train {

// The smaller of two limits.
int64_t smaller_limit(int64_t a, int64_t b);
// The smaller of the model's and the tokenizer's limits.
int64_t length_limit(const Model& model, const Tokenizer& tokenizer);

// Throws Error if `max_seq_length` (above 0) exceeds the model's positions or has no room for text beside the
// special tokens.
void check_length(int64_t max_seq_length, const Model& model, const Tokenizer& tokenizer);
void check_length(int64_t max_seq_length, int64_t max_positions, int64_t special_tokens);

// The length of training: `asked` if above 0, else the task's default. `virtual_tokens`: that the model will
// get before each text.
int32_t training_length(int64_t asked, const Model& model, const Tokenizer& tokenizer,
                        int64_t virtual_tokens = 0);
// `task_default`: tokens of a sequence that the task takes by default, 0 = the limit.
int64_t default_length(int64_t task_default, int64_t limit);

}  // namespace graft::train
