// Decoders over a causal language model: with a cache of keys and values, or computing every sequence again
// at each step.
#pragma once
#include <memory>

#include "generate/decoder.h"
#include "models/state.h"

namespace graft::generate {

// `max_sequences` at once, of at most `max_length` tokens. Throws Error if the model is no causal language
// model. `state` outlives the decoder.
//
// An encoder-decoder reads sources[i] for the sequence that starts with prompts[i], which begins with its
// decoder_start_token_id; a causal model has no sources.
std::unique_ptr<Decoder> make_decoder(models::State& state, int64_t max_sequences, int64_t max_length,
                                      bool use_cache, std::vector<std::vector<int32_t>> sources = {});

}  // namespace graft::generate
