#include "data/mask.h"

#include <gmock/gmock.h>

#include <algorithm>
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

// The same tokens, for a model that fills each of them.
TEST(MlmMasker, ChosenTokensAllBecomeTheMaskTokenWhereAskedFor) {
  const Ids clean = sentence(500);
  const auto length = static_cast<int32_t>(clean.size());
  std::vector<uint8_t> starts(clean.size(), 1);
  for (const bool spans : {false, true}) {
    MlmOptions usual = options(0.3), all = usual;
    usual.spans.on = all.spans.on = spans;
    all.only_mask_token = true;
    MaskedRows first, second;
    Ids some = clean, every = clean;
    masker_with(usual).mask(1, 5, some.data(), starts.data(), length, 0, first);
    masker_with(all).mask(1, 5, every.data(), starts.data(), length, 0, second);
    EXPECT_EQ(first.rows, second.rows);
    EXPECT_EQ(first.labels, second.labels);
    EXPECT_NE(some, every);
    for (const int32_t row : second.rows) EXPECT_EQ(every[static_cast<size_t>(row)], kMask);
  }
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

MlmOptions span_options(double share, uint64_t seed = 42) {
  MlmOptions o = options(share, false, seed);
  o.spans.on = true;
  return o;
}

// Words of one to three tokens; every hundredth token is special.
struct Words {
  Ids ids = sentence(400);
  std::vector<uint8_t> starts = std::vector<uint8_t>(ids.size(), 1);
  Words() {
    for (size_t i = 1; i < ids.size(); ++i) {
      starts[i] = i % 7 != 2 && i % 7 != 4 && i % 7 != 5;
      if (i % 100 == 0) ids[i] = 3, starts[i] = 1;
      if (i % 100 == 1) starts[i] = 1;
    }
  }
  MaskedRows masked(const MlmMasker& masker, int64_t example, Ids& out, int64_t epoch = 0) const {
    out = ids;
    MaskedRows rows;
    masker.mask(epoch, example, out.data(), starts.data(), static_cast<int32_t>(out.size()), 0, rows);
    return rows;
  }
};

TEST(MlmMasker, SpansHideTheShareInWholeWords) {
  const Words words;
  const int64_t maskable = 402 - 2 - 4;
  for (const double share : {0.15, 0.5}) {
    const MlmMasker masker = masker_with(span_options(share));
    int64_t chosen = 0, hidden = 0, kept = 0, spans = 0;
    for (int64_t example = 0; example < 600; ++example) {
      Ids ids;
      const MaskedRows masked = words.masked(masker, example, ids);
      std::vector<uint8_t> is_masked(ids.size());
      for (size_t k = 0; k < masked.rows.size(); ++k) {
        const auto row = static_cast<size_t>(masked.rows[k]);
        is_masked[row] = 1;
        ASSERT_EQ(masked.labels[k], words.ids[row]);
        ASSERT_TRUE(words.ids[row] > 4) << "a special token";
      }
      for (size_t i = 1; i < ids.size(); ++i) {
        if (!words.starts[i]) {
          ASSERT_EQ(is_masked[i], is_masked[i - 1]) << "a word is hidden in part";
        }
      }
      // The first token of a run decides for its span; runs may be longer than a span where two meet.
      for (size_t i = 1; i < ids.size(); ++i) {
        if (!is_masked[i] || is_masked[i - 1]) continue;
        ++spans;
        hidden += ids[i] == kMask;
        kept += ids[i] == words.ids[i];
      }
      chosen += static_cast<int64_t>(masked.rows.size());
    }
    // The share is an expectation for each sequence: its deviation is below that of one word.
    EXPECT_NEAR(static_cast<double>(chosen) / (600 * maskable), share, 0.001) << share;
    expect_rate(hidden, spans, 0.8 + 0.1 / 1005);
    expect_rate(kept, spans, 0.1 + 0.1 / 1005);
  }
}

TEST(MlmMasker, SpansAreReplacedAlike) {
  // So few spans that they hardly ever meet.
  const Ids clean = sentence(2000);
  const std::vector<uint8_t> starts(clean.size(), 1);
  const MlmMasker masker = masker_with(span_options(0.004));
  int64_t alike = 0, runs = 0, too_long = 0;
  for (int64_t example = 0; example < 1000; ++example) {
    Ids ids = clean;
    MaskedRows masked;
    masker.mask(0, example, ids.data(), starts.data(), static_cast<int32_t>(ids.size()), 0, masked);
    size_t first = 0;
    for (size_t k = 1; k <= masked.rows.size(); ++k) {
      if (k < masked.rows.size() && masked.rows[k] == masked.rows[k - 1] + 1) continue;
      int64_t hidden = 0, kept = 0;
      for (size_t i = first; i < k; ++i) {
        const auto row = static_cast<size_t>(masked.rows[i]);
        hidden += ids[row] == kMask, kept += ids[row] == clean[row];
      }
      const auto size = static_cast<int64_t>(k - first);
      too_long += size > 10;
      if (size > 1) ++runs, alike += hidden == size || kept == size || hidden + kept == 0;
      first = k;
    }
  }
  EXPECT_GT(runs, 1000);
  EXPECT_GT(alike, runs * 97 / 100);
  EXPECT_LT(too_long, runs / 100);
}

TEST(SpanMask, LengthsAreThoseOfATruncatedGeometricDistribution) {
  SpanMaskOptions spans;
  spans.on = true;
  const int32_t n = 4000;
  const std::vector<uint8_t> maskable(n, 1), starts(n, 1);
  std::vector<int64_t> count(11, 0);
  int64_t all = 0;
  for (uint64_t seed = 0; seed < 3000; ++seed) {
    // The first span of each draw: no other one is in its way, and the budget is far away.
    const std::vector<int32_t> span_of =
        choose_spans(PhiloxStream(philox_key(seed, 0, "test")), maskable, starts.data(), 0.05, spans);
    const auto first = std::find(span_of.begin(), span_of.end(), 0);
    ASSERT_NE(first, span_of.end());
    const int64_t length = std::count(span_of.begin(), span_of.end(), 0);
    ASSERT_LE(length, 10);
    if (n - (first - span_of.begin()) <= 10) continue;  // at the end of the text
    ++count[static_cast<size_t>(length)];
    ++all;
  }
  const double whole = 1 - std::pow(0.8, 10);
  double mean = 0;
  for (size_t k = 1; k <= 10; ++k) {
    expect_rate(count[k], all, 0.2 * std::pow(0.8, static_cast<double>(k) - 1) / whole);
    mean += static_cast<double>(k) * static_cast<double>(count[k]) / static_cast<double>(all);
  }
  EXPECT_NEAR(mean, 3.8, 0.15);  // the paper's mean
}

TEST(MlmMasker, SpansAreAFunctionOfSeedEpochAndExample) {
  const Words words;
  const auto rows = [&](uint64_t seed, int64_t epoch, int64_t example) {
    Ids ids;
    MaskedRows masked = words.masked(masker_with(span_options(0.15, seed)), example, ids, epoch);
    masked.rows.insert(masked.rows.end(), ids.begin(), ids.end());
    return masked.rows;
  };
  EXPECT_EQ(rows(1, 2, 3), rows(1, 2, 3));
  EXPECT_NE(rows(1, 2, 3), rows(2, 2, 3));
  EXPECT_NE(rows(1, 2, 3), rows(1, 3, 3));
  EXPECT_NE(rows(1, 2, 3), rows(1, 2, 4));
  EXPECT_NE(rows(1, -1, 3), rows(1, 0, 3));
}

// All, none and one maskable token, and a text without words that fit.
TEST(MlmMasker, SpansOfShortTexts) {
  const MlmMasker all = masker_with(span_options(1.0));
  Ids ids{2, 7, 8, 9, 3};
  std::vector<uint8_t> starts{1, 1, 0, 1, 1};
  MaskedRows masked;
  all.mask(0, 0, ids.data(), starts.data(), 5, 10, masked);
  EXPECT_EQ(masked.rows, (Ids{11, 12, 13}));
  EXPECT_EQ(masked.labels, (Ids{7, 8, 9}));
  Ids none{2, 3};
  masked.clear();
  all.mask(0, 0, none.data(), starts.data(), 2, 0, masked);
  EXPECT_TRUE(masked.rows.empty());
  // A word of three tokens in a text that may hide 0.45 on average.
  const MlmMasker few = masker_with(span_options(0.15));
  int64_t hidden = 0;
  for (int64_t example = 0; example < 4000; ++example) {
    Ids word{2, 7, 8, 9, 3};
    const std::vector<uint8_t> one{1, 1, 0, 0, 1};
    masked.clear();
    few.mask(0, example, word.data(), one.data(), 5, 0, masked);
    ASSERT_TRUE(masked.rows.empty() || masked.rows.size() == 3);
    hidden += !masked.rows.empty();
  }
  expect_rate(hidden, 4000, 0.15);
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
