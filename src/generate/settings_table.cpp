#include "generate/settings_table.h"

namespace graft::generate {

const std::vector<Setting>& settings_table() {
  using O = GenerationOptions;
  static const std::vector<Setting> table = {
      {"max_new_tokens", &O::max_new_tokens, "tokens that are added at most; 20 where no limit is set", 1},
      {"max_length", &O::max_length, "tokens of prompt and continuation at most", 1},
      {"min_length", &O::min_length, "tokens of prompt and continuation at least"},
      {"min_new_tokens", &O::min_new_tokens, "tokens that are added at least"},
      {"stop_strings", &O::stop_strings, "texts that end a continuation"},
      {"num_beams", &O::num_beams, "beams of a beam search; 1 = none", 1},
      {"length_penalty", &O::length_penalty,
       "beams: score = sum of log-probabilities / tokens^length_penalty", 0, Needs::beams},
      {"early_stopping", &O::early_stopping, "beams: true, false (a heuristic) or never", 0, Needs::beams},
      {"num_return_sequences", &O::num_return_sequences, "continuations of each prompt", 1},
      {"do_sample", &O::do_sample, "draw tokens instead of choosing the most probable one"},
      {"temperature", &O::temperature, "sampling: below 1 sharpens the probabilities", 0, Needs::sampling},
      {"top_k", &O::top_k, "sampling: from the k most probable tokens; 0 = all", 0, Needs::sampling},
      {"top_p", &O::top_p, "sampling: from the fewest tokens with this probability together", 0,
       Needs::sampling},
      {"typical_p", &O::typical_p, "sampling: from the most typical tokens with this probability together", 0,
       Needs::sampling},
      {"seed", &O::seed, "sampling: of the random numbers", 0, Needs::sampling, false},
      {"repetition_penalty", &O::repetition_penalty, "above 1 makes tokens of the text less probable"},
      {"no_repeat_ngram_size", &O::no_repeat_ngram_size, "no n-gram of this size twice; 0 = may repeat"},
      {"eos_token_id", &O::eos_token_id},
      {"bos_token_id", &O::bos_token_id},
      {"pad_token_id", &O::pad_token_id},
      {"use_cache", &O::use_cache, "keep keys and values; the tokens are the same without, and slower"}};
  return table;
}

}  // namespace graft::generate
