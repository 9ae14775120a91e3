// The spans that span masking hides (Joshi et al. 2020, "SpanBERT: Improving Pre-training by Representing and
// Predicting Spans").
#pragma once
#include <cstdint>
#include <vector>

#include "base/philox.h"

namespace graft::data {

struct SpanMaskOptions {
  bool on = false;
  double geometric_p = 0.2;  // of the lengths, in words: P(n) is proportional to (1 - p)^(n - 1)
  int64_t span_upper = 10;   // longest span
};

// The span that each of `length` tokens is in, counted from 0, or -1. Of the tokens with maskable != 0 the
// share `share` is in spans, as an expectation. A span starts at a word of a random token and takes the next
// words, too; words are hidden whole. It ends at a token that is not maskable. Words that are hidden already
// belong to their first span and count in the length of the next. The word with which a sequence reaches its
// share is hidden with such a probability that the expectation is exact.
std::vector<int32_t> choose_spans(PhiloxStream draw, const std::vector<uint8_t>& maskable,
                                  const uint8_t* word_starts, double share, const SpanMaskOptions& options);

}  // namespace graft::data
