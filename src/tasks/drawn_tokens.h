// Tokens that a masked language model fills masks with, drawn from its softmax.
#pragma once
#include <cstdint>

#include "data/batch.h"
#include "engine/tensor.h"

namespace graft::tasks {

// The step of an evaluation, for draw_tokens.
inline constexpr uint64_t kNoStep = ~uint64_t{0};

// ids[batch.label_rows[i]] = a token with the probabilities softmax(logits [n, V], row i); `logits` are of
// the host, `ids` [T]. Each token is a function of (seed, step, example, position) and of its row of logits,
// for any number of threads and any batch.
void draw_tokens(engine::Tensor logits, const data::RaggedBatch& batch, uint64_t seed, uint64_t step,
                 int32_t* ids);

}  // namespace graft::tasks
