// What changes the scores of the next token before one is chosen, in the reference's order and with its
// definitions (transformers 5.24, generation/logits_process.py).
#pragma once
#include <cstdint>
#include <vector>

#include "graft/generation_options.h"

namespace graft::generate {

// Repetition penalty, repeated n-grams, tokens that may not end the text yet. `tokens`: prompt and
// continuation.
void process_scores(std::vector<float>& scores, const std::vector<int32_t>& tokens, size_t prompt_length,
                    const GenerationOptions& options);
// Temperature, top_k, top_p, typical_p: -inf for a token that may not be drawn.
void warp_scores(std::vector<float>& scores, const GenerationOptions& options);
// scores = log softmax(scores).
void log_softmax(std::vector<float>& scores);
// The token that `uniform` in [0, 1) draws from softmax(scores).
int32_t draw(const std::vector<float>& scores, double uniform);
// The largest; the first of equals.
int32_t largest(const std::vector<float>& scores);

}  // namespace graft::generate
