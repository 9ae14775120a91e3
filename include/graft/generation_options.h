// How a text is continued: the settings of the reference's GenerationConfig, under its names and with its
// defaults.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace graft {

// When a beam search ends: with enough finished beams; by a heuristic, where a better one is unlikely; or not
// before a better one is impossible.
enum class EarlyStopping : uint8_t { heuristic, always, never };

struct GenerationOptions {
  // Length. `max_new_tokens` has precedence over `max_length`, which counts the prompt, too; 20 new tokens
  // where neither is set. No token that ends a text is chosen before min_new_tokens, or where that is 0,
  // before min_length, which counts the prompt, too.
  std::optional<int64_t> max_new_tokens{}, max_length{};
  int64_t min_length = 0, min_new_tokens = 0;
  std::vector<std::string> stop_strings{};  // a text ends with the first of them

  // Prompts before the first one of a call: prompts passed in pieces draw what they would in one call.
  int64_t first_prompt = 0;

  int64_t num_beams = 1;      // 1: the most probable token at each step; more: beam search
  double length_penalty = 1;  // a beam's score: sum of log-probabilities / tokens^length_penalty
  EarlyStopping early_stopping = EarlyStopping::heuristic;
  int64_t num_return_sequences = 1;

  bool do_sample = false;  // draws tokens; temperature, top_k, top_p, typical_p apply to this only
  double temperature = 1;
  int64_t top_k = 50;  // 0 = all
  double top_p = 1, typical_p = 1;
  uint64_t seed = 42;

  double repetition_penalty = 1;
  int64_t no_repeat_ngram_size = 0;  // 0 = may repeat

  std::vector<int32_t> eos_token_id{};    // tokens that end a text; empty = none
  std::optional<int32_t> bos_token_id{};  // begins a text where the prompt is empty
  std::optional<int32_t> pad_token_id{};  // kept for the file; texts are not padded here
  bool use_cache = true;  // keeps keys and values of earlier tokens; the same tokens, slower without
};

}  // namespace graft
