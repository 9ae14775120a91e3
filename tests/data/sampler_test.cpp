#include "data/sampler.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "support/shared.h"

namespace graft::data {
namespace {

using test::error_of;
using testing::ElementsAre;
using testing::HasSubstr;

SamplerOptions options(Sampling sampling, int64_t batch_size, bool drop_last = false, uint64_t seed = 42) {
  return {sampling, seed, batch_size, drop_last};
}

bool is_permutation(std::vector<int64_t> order) {
  std::sort(order.begin(), order.end());
  for (size_t i = 0; i < order.size(); ++i) {
    if (order[i] != static_cast<int64_t>(i)) return false;
  }
  return true;
}

TEST(Sampler, RandomIsAFunctionOfSeedAndEpoch) {
  const Sampler a(1000, options(Sampling::random, 8)), b(1000, options(Sampling::random, 32));
  const Sampler other(1000, options(Sampling::random, 8, false, 43));
  EXPECT_TRUE(is_permutation(a.epoch_order(0)));
  EXPECT_EQ(a.epoch_order(3), b.epoch_order(3));
  EXPECT_NE(a.epoch_order(0), a.epoch_order(1));
  EXPECT_NE(a.epoch_order(0), other.epoch_order(0));
}

// Every example is first equally often: 6000 draws of 6 places, each within 5 sigma of 1000.
TEST(Sampler, RandomIsUniform) {
  const Sampler sampler(6, options(Sampling::random, 2));
  std::vector<int> first(6, 0), last(6, 0);
  for (int64_t epoch = 0; epoch < 6000; ++epoch) {
    const auto order = sampler.epoch_order(epoch);
    ++first[static_cast<size_t>(order.front())];
    ++last[static_cast<size_t>(order.back())];
  }
  for (size_t i = 0; i < 6; ++i) {
    EXPECT_NEAR(first[i], 1000, 5 * 28.9);
    EXPECT_NEAR(last[i], 1000, 5 * 28.9);
  }
}

TEST(Sampler, BatchesAreCutFromTheOrderAtAnyPosition) {
  for (const Sampling sampling : {Sampling::random, Sampling::sequential}) {
    Sampler sampler(10, options(sampling, 4));
    EXPECT_EQ(sampler.num_batches(), 3);
    const auto order = sampler.epoch_order(2);
    EXPECT_EQ(sampler.batch(2, 2), (std::vector<int64_t>{order[8], order[9]}));
    sampler.batch(0, 0);
    EXPECT_EQ(sampler.batch(2, 1), (std::vector<int64_t>{order[4], order[5], order[6], order[7]}));
  }
  Sampler sequential(3, options(Sampling::sequential, 2));
  EXPECT_THAT(sequential.batch(7, 0), ElementsAre(0, 1));
}

TEST(Sampler, DropLast) {
  Sampler sampler(10, options(Sampling::sequential, 4, true));
  EXPECT_EQ(sampler.num_batches(), 2);
  EXPECT_THAT(error_of([&] { sampler.batch(0, 2); }), HasSubstr("batch 2 of an epoch with 2 batches"));
  EXPECT_EQ(Sampler(3, options(Sampling::random, 4, true)).num_batches(), 0);
  EXPECT_EQ(Sampler(0, options(Sampling::random, 4)).num_batches(), 0);
}

// Any int64 is a batch size: nothing overflows (the sanitizers run this test too).
TEST(Sampler, BatchesLargerThanTheData) {
  for (const int64_t size : {int64_t{7}, int64_t{8}, int64_t{1} << 61, std::numeric_limits<int64_t>::max()}) {
    for (const Sampling sampling : {Sampling::sequential, Sampling::random, Sampling::group_by_length}) {
      Sampler sampler(7, options(sampling, size), {1, 2, 3, 4, 5, 6, 7});
      ASSERT_EQ(sampler.num_batches(), 1) << size;
      EXPECT_TRUE(is_permutation(sampler.batch(0, 0))) << size;
      EXPECT_EQ(sampler.batch(0, 0).size(), 7u) << size;
    }
    EXPECT_EQ(Sampler(7, options(Sampling::random, size, true)).num_batches(), size == 7 ? 1 : 0);
    EXPECT_EQ(Sampler(0, options(Sampling::group_by_length, size)).num_batches(), 0);
  }
  EXPECT_EQ(Sampler(std::numeric_limits<int64_t>::max(), options(Sampling::random, 2)).num_batches(),
            int64_t{1} << 62);
  for (const int64_t size : {int64_t{0}, int64_t{-1}, std::numeric_limits<int64_t>::min()}) {
    EXPECT_THAT(error_of([&] { Sampler(7, options(Sampling::random, size)); }), HasSubstr("at least 1"));
  }
  EXPECT_THAT(error_of([] { Sampler(-1, options(Sampling::random, 1)); }), HasSubstr("-1 examples"));
}

TEST(Sampler, GroupByLength) {
  constexpr int64_t kExamples = 1003, kBatch = 4;
  std::vector<int32_t> lengths;
  for (int64_t i = 0; i < kExamples; ++i) lengths.push_back(static_cast<int32_t>(i * 7919 % 509));
  const Sampler sampler(kExamples, options(Sampling::group_by_length, kBatch), lengths);
  const auto order = sampler.epoch_order(1);
  EXPECT_TRUE(is_permutation(order));
  EXPECT_EQ(order, sampler.epoch_order(1));
  EXPECT_NE(order, sampler.epoch_order(2));
  const auto length = [&](size_t i) { return lengths[static_cast<size_t>(order[i])]; };
  EXPECT_EQ(length(0), *std::max_element(lengths.begin(), lengths.end()));
  // Mega-batches of 50 batches, sorted downwards; the two examples that changed places are apart from that.
  int rises = 0;
  for (size_t i = 1; i < order.size(); ++i) rises += i % (50 * kBatch) != 0 && length(i) > length(i - 1);
  EXPECT_LE(rises, 1);
}

TEST(Sampler, GroupByLengthOfFewExamples) {
  const Sampler sampler(5, options(Sampling::group_by_length, 8), {3, 1, 5, 2, 4});
  EXPECT_THAT(sampler.epoch_order(0), ElementsAre(2, 4, 0, 3, 1));
  EXPECT_TRUE(Sampler(0, options(Sampling::group_by_length, 8)).epoch_order(0).empty());
  EXPECT_THAT(error_of([] {
                Sampler(5, options(Sampling::group_by_length, 8), {1, 2});
              }),
              HasSubstr("each of 5 examples, got 2"));
}

TEST(Sampler, Names) {
  EXPECT_EQ(parse_sampling("group_by_length"), Sampling::group_by_length);
  EXPECT_THAT(error_of([] { parse_sampling("randon"); }), HasSubstr("did you mean 'random'?"));
}

}  // namespace
}  // namespace graft::data
