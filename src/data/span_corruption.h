// Span corruption (Raffel et al. 2020, "Exploring the Limits of Transfer Learning with a Unified Text-to-Text
// Transformer", 3.1.4): spans of a text are replaced by sentinels, and the target lists them. Lengths and
// spans as in the reference's run_t5_mlm_flax.
#pragma once
#include <cstdint>
#include <vector>

#include "graft/tokenizer.h"

namespace graft::data {

struct SpanOptions {
  double noise_density = 0.15;        // share of tokens in spans
  double mean_noise_span_length = 3;  // tokens
  uint64_t seed = 42;
};

// Tokens of the streams that a text of `tokens` becomes, special tokens included.
struct SpanLengths {
  int32_t tokens = 0, spans = 0, input = 0, target = 0;
};
SpanLengths span_lengths(int32_t tokens, const SpanOptions& options);
// Those of the longest text whose input has at most `input_length` tokens.
SpanLengths span_lengths_of_input(int32_t input_length, const SpanOptions& options);

// 1 for the tokens in a span. Spans and what lies between them are cut at random, and the text begins outside
// of a span. A function of (seed, epoch, example, length).
std::vector<uint8_t> noise_mask(int32_t length, const SpanOptions& options, int64_t epoch, int64_t example);

class SpanCorruptor {
 public:
  // Throws Error when the tokenizer has no eos_token, or fewer sentinels (<extra_id_0>, <extra_id_1>, ...)
  // than a text of `longest` tokens has spans.
  SpanCorruptor(const Tokenizer& tokenizer, const SpanOptions& options, int32_t longest);
  // The same from parts.
  SpanCorruptor(std::vector<int32_t> sentinels, int32_t eos_token_id, const SpanOptions& options);

  // input: the text with a sentinel for each span, and eos. target: each sentinel with the tokens of its
  // span, and eos. Evaluation passes a fixed epoch (-1).
  void corrupt(int64_t epoch, int64_t example, const int32_t* ids, int32_t length,
               std::vector<int32_t>& input, std::vector<int32_t>& target) const;
  const SpanOptions& options() const { return options_; }
  // Those that texts up to the longest one need, in order.
  const std::vector<int32_t>& sentinels() const { return sentinels_; }

 private:
  std::vector<int32_t> sentinels_;
  int32_t eos_token_id_;
  SpanOptions options_;
};

}  // namespace graft::data
