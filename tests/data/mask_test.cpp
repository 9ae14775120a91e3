#include "data/mask.h"

#include <gmock/gmock.h>

#include <cmath>

#include "data/fake_tokenizer.h"
#include "support/shared.h"

namespace graft::data {
namespace {

using test::error_of;
using testing::HasSubstr;
using Ids = std::vector<int32_t>;

constexpr int32_t kMask = 4;

MlmOptions options(double probability = 0.15, bool whole_word = false, uint64_t seed = 42) {
  return {probability, whole_word, seed};
}

MlmMasker masker_with(const MlmOptions& options) {
  return MlmMasker(kMask, test::fake_special_ids(), options);
}

// Within 5 standard deviations of a binomial.
void expect_rate(int64_t count, int64_t n, double p) {
  const double mean = static_cast<double>(n) * p;
  EXPECT_NEAR(static_cast<double>(count), mean, 5 * std::sqrt(mean * (1 - p)));
}

// [CLS] 7 8 9 ... [SEP]
Ids sentence(int32_t length) {
  Ids ids{2};
  for (int32_t i = 0; i < length; ++i) ids.push_back(7 + i % 900);
  ids.push_back(3);
  return ids;
}

TEST(MlmMasker, RatesAreThoseOfBert) {
  const MlmMasker masker = masker_with(options());
  const Ids clean = sentence(500);
  int64_t n = 0, chosen = 0, hidden = 0, kept = 0, random = 0;
  std::vector<int64_t> at(clean.size(), 0), drawn(1005, 0);
  MaskedRows masked;
  for (int64_t example = 0; example < 400; ++example) {
    Ids ids = clean;
    masked.clear();
    masker.mask(1, example, ids.data(), nullptr, static_cast<int32_t>(ids.size()), 0, masked);
    n += 500;
    chosen += static_cast<int64_t>(masked.rows.size());
    for (size_t k = 0; k < masked.rows.size(); ++k) {
      const auto row = static_cast<size_t>(masked.rows[k]);
      ASSERT_EQ(masked.labels[k], clean[row]);
      ++at[row];
      hidden += ids[row] == kMask;
      kept += ids[row] == clean[row];
      if (ids[row] != kMask && ids[row] != clean[row]) ++random, ++drawn[static_cast<size_t>(ids[row])];
    }
  }
  expect_rate(chosen, n, 0.15);
  const double one = 1.0 / 1005;  // a random id may be the mask token or the same
  expect_rate(hidden, chosen, 0.8 + 0.1 * one);
  expect_rate(kept, chosen, 0.1 + 0.1 * one);
  expect_rate(random, chosen, 0.1 * (1 - 2 * one));
  for (size_t i = 1; i + 1 < at.size(); ++i) expect_rate(at[i], 400, 0.15);
  int64_t low = 0, all = 0;
  for (size_t i = 0; i < drawn.size(); ++i) low += i < 502 ? drawn[i] : 0, all += drawn[i];
  expect_rate(low, all, 502.0 / 1005);
}

TEST(MlmMasker, SpecialTokensAreNeverChosen) {
  const MlmMasker masker = masker_with(options(1.0));
  Ids ids{2, 7, 1, 8, 3, 0, 4, 9, 3};
  MaskedRows masked;
  masker.mask(0, 0, ids.data(), nullptr, static_cast<int32_t>(ids.size()), 100, masked);
  EXPECT_EQ(masked.rows, (Ids{101, 103, 107}));
  EXPECT_EQ(masked.labels, (Ids{7, 8, 9}));
  EXPECT_EQ(ids[2], 1);
  EXPECT_EQ(ids[5], 0);
}

TEST(MlmMasker, AMaskIsAFunctionOfSeedEpochExampleAndPosition) {
  const auto rows = [&](uint64_t seed, int64_t epoch, int64_t example, int32_t length) {
    const MlmMasker masker = masker_with(options(0.15, false, seed));
    Ids ids = sentence(length);
    MaskedRows masked;
    masker.mask(epoch, example, ids.data(), nullptr, static_cast<int32_t>(ids.size()), 0, masked);
    masked.rows.insert(masked.rows.end(), ids.begin(), ids.end());
    return masked.rows;
  };
  EXPECT_EQ(rows(1, 2, 3, 200), rows(1, 2, 3, 200));
  EXPECT_NE(rows(1, 2, 3, 200), rows(2, 2, 3, 200));
  EXPECT_NE(rows(1, 2, 3, 200), rows(1, 3, 3, 200));
  EXPECT_NE(rows(1, 2, 3, 200), rows(1, 2, 4, 200));
  EXPECT_NE(rows(1, 2, 3, 200), rows(1, 2, 3 + (int64_t{1} << 32), 200));
  EXPECT_NE(rows(1, -1, 3, 200), rows(1, 0, 3, 200));
  // The neighbours in the batch and the row in it do not matter, and a longer text is masked alike where it
  // is equal.
  const MlmMasker masker = masker_with(options());
  Ids alone = sentence(50), longer = sentence(80);
  MaskedRows a, b;
  b.rows = {5};
  b.labels = {6};
  masker.mask(0, 9, alone.data(), nullptr, 51, 0, a);
  masker.mask(0, 9, longer.data(), nullptr, 51, 1000, b);
  ASSERT_EQ(b.rows.size(), a.rows.size() + 1);
  for (size_t i = 0; i < a.rows.size(); ++i) EXPECT_EQ(b.rows[i + 1], a.rows[i] + 1000);
  for (size_t i = 0; i < 51; ++i) EXPECT_EQ(alone[i], longer[i]);
}

TEST(MlmMasker, WholeWordsAreHiddenTogether) {
  const MlmMasker masker = masker_with(options(0.15, true));
  const Ids clean = sentence(300);
  std::vector<uint8_t> starts(clean.size());
  for (size_t i = 0; i < starts.size(); ++i) starts[i] = i == 0 || i % 3 == 1 || i + 1 == starts.size();
  int64_t words = 0, chosen = 0;
  for (int64_t example = 0; example < 200; ++example) {
    Ids ids = clean;
    MaskedRows masked;
    masker.mask(0, example, ids.data(), starts.data(), static_cast<int32_t>(ids.size()), 0, masked);
    ASSERT_EQ(masked.rows.size() % 3, 0u);
    for (size_t k = 0; k < masked.rows.size(); k += 3) {
      ASSERT_EQ(masked.rows[k] % 3, 1);
      ASSERT_EQ(masked.rows[k + 2], masked.rows[k] + 2);
    }
    words += 100;
    chosen += static_cast<int64_t>(masked.rows.size() / 3);
  }
  expect_rate(chosen, words, 0.15);
}

// A block that was cut within a word starts with its rest: a word of its own.
TEST(MlmMasker, BlockThatBeginsWithinAWord) {
  const MlmMasker masker = masker_with(options(1.0, true));
  Ids ids{7, 8, 9};
  const std::vector<uint8_t> starts{0, 0, 1};
  MaskedRows masked;
  masker.mask(0, 0, ids.data(), starts.data(), 3, 0, masked);
  EXPECT_EQ(masked.rows.size(), 3u);
}

TEST(MlmMasker, Errors) {
  EXPECT_THAT(error_of([] { MlmMasker(std::nullopt, test::fake_special_ids(), options()); }),
              HasSubstr("has no mask token"));
  for (const double p : {0.0, -0.1, 1.5, std::nan("")}) {
    EXPECT_THAT(error_of([&] { masker_with(options(p)); }), HasSubstr("mlm_probability"));
  }
  const MlmMasker masker = masker_with(options(0.15, true));
  Ids ids{7};
  MaskedRows masked;
  EXPECT_THAT(error_of([&] { masker.mask(0, 0, ids.data(), nullptr, 1, 0, masked); }),
              HasSubstr("starts of words"));
}

}  // namespace
}  // namespace graft::data
