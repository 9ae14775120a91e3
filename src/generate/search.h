// Chooses the tokens: the most probable one, a drawn one, or those of the best beams.
#pragma once
#include <functional>
#include <vector>

#include "generate/decoder.h"
#include "graft/generation_options.h"

namespace graft::generate {

struct Generated {
  std::vector<int32_t> tokens;  // prompt and continuation, with the token that ends it
  size_t prompt_length = 0;
  double score = 0;  // of a beam: sum of log-probabilities / new tokens^length_penalty
};

struct SearchHooks {
  // Whether the text of these tokens ends with a stop string; empty = never.
  std::function<bool(const std::vector<int32_t>& tokens)> stops{};
  // Sees each token as it is chosen (not of beams). `sequence`: prompt * num_return_sequences + its number.
  std::function<void(size_t sequence, int32_t token)> on_token{};
  // Which prompt's random numbers prompt 0 has: a prompt draws the same in any batch.
  int64_t first_prompt = 0;
};

// num_return_sequences for each prompt, in order. `max_new_tokens` of each. The sequences of a prompt do not
// depend on the other prompts. Decoder: start() with the prompts, then at most max(num_beams,
// num_return_sequences) sequences for each prompt.
std::vector<std::vector<Generated>> search(Decoder& decoder, const std::vector<std::vector<int32_t>>& prompts,
                                           const GenerationOptions& options,
                                           const std::vector<int64_t>& max_new_tokens,
                                           const SearchHooks& hooks = {});

}  // namespace graft::generate
