#include "data/span_corruption.h"

#include <cmath>
#include <map>
#include <numeric>
#include <set>

#include "support/shared.h"

namespace graft::data {
namespace {

using Ids = std::vector<int32_t>;
using testing::ElementsAre;

constexpr int32_t kEos = 1, kFirstSentinel = 999;  // <extra_id_i> is 999 - i, as T5 has them

Ids sentinels(int32_t n) {
  Ids ids;
  for (int32_t i = 0; i < n; ++i) ids.push_back(kFirstSentinel - i);
  return ids;
}

Ids text_of(int32_t length) {
  Ids ids(static_cast<size_t>(length));
  std::iota(ids.begin(), ids.end(), 2);
  return ids;
}

// compute_input_and_target_lengths of run_t5_mlm_flax: (input length, density, mean) -> (text, target).
TEST(SpanCorruption, LengthsAreThoseOfTheReference) {
  const auto of = [](int32_t input, double density, double mean) {
    const SpanLengths l = span_lengths_of_input(input, {density, mean, 42});
    EXPECT_LE(l.input, input);
    return std::pair{l.tokens, l.target};
  };
  EXPECT_EQ(of(512, 0.15, 3), (std::pair{568, 114}));
  EXPECT_EQ(of(128, 0.15, 3), (std::pair{141, 29}));
  EXPECT_EQ(of(1024, 0.15, 3), (std::pair{1137, 229}));
  EXPECT_EQ(of(64, 0.3, 2), (std::pair{74, 34}));
}

TEST(SpanCorruption, TheMaskHasTheLengthsAndBeginsOutside) {
  const SpanOptions options;
  for (const int32_t length : {2, 3, 7, 20, 141, 568}) {
    const SpanLengths lengths = span_lengths(length, options);
    for (int64_t example = 0; example < 20; ++example) {
      const std::vector<uint8_t> mask = noise_mask(length, options, 0, example);
      ASSERT_EQ(mask.size(), static_cast<size_t>(length));
      EXPECT_EQ(mask.front(), 0);
      EXPECT_EQ(mask.back(), 1);
      int32_t noise = 0, spans = 0;
      for (size_t i = 0; i < mask.size(); ++i) {
        noise += mask[i];
        spans += mask[i] && !mask[i - 1];
      }
      EXPECT_EQ(spans, lengths.spans);
      EXPECT_EQ(noise, lengths.target - lengths.spans - 1);
    }
  }
}

// 141 tokens: 21 in 7 spans. A cut of 21 tokens into 7 parts is uniform: a first part of n tokens has
// C(20 - n, 5) of C(20, 6) cuts.
TEST(SpanCorruption, SpansAreCutUniformly) {
  const SpanOptions options;
  std::map<int32_t, int64_t> first;
  std::vector<int64_t> masked(141);
  constexpr int64_t kTexts = 20000;
  for (int64_t example = 0; example < kTexts; ++example) {
    const std::vector<uint8_t> mask = noise_mask(141, options, 3, example);
    const auto begin = std::find(mask.begin(), mask.end(), 1);
    ++first[static_cast<int32_t>(std::find(begin, mask.end(), 0) - begin)];
    for (size_t i = 0; i < mask.size(); ++i) masked[i] += mask[i];
  }
  const auto choose = [](int n, int k) {
    double c = 1;
    for (int i = 0; i < k; ++i) c = c * (n - i) / (i + 1);
    return c;
  };
  for (int n = 1; n <= 5; ++n) {
    const double p = choose(20 - n, 5) / choose(20, 6), mean = kTexts * p;
    EXPECT_NEAR(static_cast<double>(first[n]), mean, 5 * std::sqrt(mean * (1 - p))) << n;
  }
  // The rates of random_spans_noise_mask in 20,000 draws: fewer at the beginning, which is outside of a span.
  EXPECT_EQ(std::count(masked.begin(), masked.end(), 0), 1);
  const auto rate = [&](int begin, int end) {
    return static_cast<double>(std::accumulate(masked.begin() + begin, masked.begin() + end, int64_t{0})) /
           static_cast<double>(kTexts * (end - begin));
  };
  EXPECT_NEAR(rate(0, 20), 0.1172, 0.003);
  EXPECT_NEAR(rate(40, 100), 0.1351, 0.003);
  EXPECT_NEAR(rate(121, 141), 0.2502, 0.003);
}

TEST(SpanCorruption, AFunctionOfSeedEpochAndExample) {
  const SpanOptions options;
  SpanOptions other = options;
  other.seed = 43;
  const auto mask = noise_mask(141, options, 0, 5);
  EXPECT_EQ(noise_mask(141, options, 0, 5), mask);
  EXPECT_NE(noise_mask(141, options, 1, 5), mask);
  EXPECT_NE(noise_mask(141, options, 0, 6), mask);
  EXPECT_NE(noise_mask(141, other, 0, 5), mask);
  EXPECT_NE(noise_mask(141, options, -1, 5), mask);
}

// The spans of the target in the places of the sentinels are the text again.
TEST(SpanCorruption, InputAndTargetReassembleTheText) {
  const SpanCorruptor corruptor(sentinels(100), kEos, {});
  for (const int32_t length : {2, 5, 31, 568}) {
    const Ids text = text_of(length);
    Ids input, target;
    corruptor.corrupt(0, length, text.data(), length, input, target);
    const SpanLengths lengths = span_lengths(length, {});
    ASSERT_EQ(input.size(), static_cast<size_t>(lengths.input));
    ASSERT_EQ(target.size(), static_cast<size_t>(lengths.target));
    EXPECT_EQ(input.back(), kEos);
    EXPECT_EQ(target.back(), kEos);
    std::map<int32_t, Ids> spans;
    Ids order;
    for (size_t i = 0; i + 1 < target.size(); ++i) {
      if (target[i] > kFirstSentinel - 100 && target[i] <= kFirstSentinel)
        order.push_back(target[i]);
      else
        spans[order.back()].push_back(target[i]);
    }
    EXPECT_EQ(order, sentinels(lengths.spans));  // <extra_id_0>, <extra_id_1>, ... in both
    Ids again, seen;
    for (size_t i = 0; i + 1 < input.size(); ++i) {
      const auto span = spans.find(input[i]);
      if (span == spans.end()) {
        again.push_back(input[i]);
        continue;
      }
      seen.push_back(input[i]);
      again.insert(again.end(), span->second.begin(), span->second.end());
    }
    EXPECT_EQ(seen, order);
    EXPECT_EQ(again, text);
  }
}

TEST(SpanCorruption, ATextOfOneTokenIsRefused) {
  EXPECT_THAT(test::error_of([] { noise_mask(1, {}, 0, 0); }), testing::HasSubstr("a text of 1 tokens"));
}

}  // namespace
}  // namespace graft::data
