#include "data/span_corruption.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/philox.h"

namespace graft::data {

namespace {

// To the nearest, halves to the even neighbour, as Python and NumPy round.
int32_t rounded(double x) { return static_cast<int32_t>(std::nearbyint(x)); }

// Cuts `items` into `segments` parts of at least one item; all ways are equally probable.
std::vector<int32_t> random_segments(int32_t items, int32_t segments, PhiloxStream& random) {
  std::vector<int32_t> lengths(1, 1);
  auto cuts = static_cast<uint64_t>(segments - 1);
  for (int32_t i = 1; i < items; ++i) {
    const bool cut = random.below(static_cast<uint64_t>(items - i)) < cuts;
    cuts -= cut;
    if (cut)
      lengths.push_back(1);
    else
      ++lengths.back();
  }
  return lengths;
}

std::vector<int32_t> sentinels_of(const Tokenizer& tokenizer) {
  std::vector<int32_t> ids;
  while (const auto id = tokenizer.token_to_id(fmt::format("<extra_id_{}>", ids.size()))) ids.push_back(*id);
  return ids;
}

}  // namespace

SpanLengths span_lengths(int32_t tokens, const SpanOptions& options) {
  // At least one token inside and one outside of the spans.
  const int32_t noise = std::min(std::max(rounded(tokens * options.noise_density), 1), tokens - 1);
  const int32_t spans =
      std::max(rounded(std::min(noise, tokens - noise) / options.mean_noise_span_length), 1);
  return {tokens, spans, tokens - noise + spans + 1, noise + spans + 1};
}

SpanLengths span_lengths_of_input(int32_t input_length, const SpanOptions& options) {
  SpanLengths lengths = span_lengths(2, options);
  for (int32_t tokens = 3;; ++tokens) {
    const SpanLengths more = span_lengths(tokens, options);
    if (more.input > input_length) return lengths;
    lengths = more;
  }
}

std::vector<uint8_t> noise_mask(int32_t length, const SpanOptions& options, int64_t epoch, int64_t example) {
  if (length < 2) fail("a text of {} tokens has no span and no token beside it", length);
  const SpanLengths lengths = span_lengths(length, options);
  const int32_t noise = lengths.target - lengths.spans - 1;
  PhiloxStream random(philox_key(options.seed, static_cast<uint64_t>(epoch), "span_corruption"),
                      static_cast<uint64_t>(example));
  const std::vector<int32_t> inside = random_segments(noise, lengths.spans, random),
                             outside = random_segments(length - noise, lengths.spans, random);
  std::vector<uint8_t> mask;
  for (size_t s = 0; s < inside.size(); ++s) {
    mask.insert(mask.end(), static_cast<size_t>(outside[s]), 0);
    mask.insert(mask.end(), static_cast<size_t>(inside[s]), 1);
  }
  return mask;
}

SpanCorruptor::SpanCorruptor(std::vector<int32_t> sentinels, int32_t eos_token_id, const SpanOptions& options)
    : sentinels_(std::move(sentinels)), eos_token_id_(eos_token_id), options_(options) {}

SpanCorruptor::SpanCorruptor(const Tokenizer& tokenizer, const SpanOptions& options, int32_t longest)
    : SpanCorruptor(sentinels_of(tokenizer), tokenizer.special_id("eos_token").value_or(-1), options) {
  if (eos_token_id_ < 0)
    fail_with("span corruption needs a tokenizer such as T5's", "the tokenizer has no eos_token");
  if (sentinels_.empty())
    fail_with("use a tokenizer such as T5's, or train one with these special tokens",
              "the tokenizer has no sentinel tokens (<extra_id_0>, <extra_id_1>, ...)");
  const auto spans = static_cast<size_t>(span_lengths(longest, options).spans);
  if (sentinels_.size() < spans)
    fail_with(
        "use a smaller --max_seq_length, or longer spans",
        "a text of {} tokens has {} spans, but the tokenizer has {} sentinel tokens (<extra_id_0>, ...)",
        longest, spans, sentinels_.size());
  sentinels_.resize(spans);
}

void SpanCorruptor::corrupt(int64_t epoch, int64_t example, const int32_t* ids, int32_t length,
                            std::vector<int32_t>& input, std::vector<int32_t>& target) const {
  input.clear();
  target.clear();
  const std::vector<uint8_t> mask = noise_mask(length, options_, epoch, example);
  size_t span = 0;
  for (size_t i = 0; i < mask.size(); ++i) {
    if (mask[i] && !mask[i - 1]) {
      input.push_back(sentinels_.at(span));
      target.push_back(sentinels_[span++]);
    }
    (mask[i] ? target : input).push_back(ids[i]);
  }
  input.push_back(eos_token_id_);
  target.push_back(eos_token_id_);
}

}  // namespace graft::data
