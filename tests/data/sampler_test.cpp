#include "data/sampler.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "support/shared.h"

namespace graft::data {
namespace {

using test::error_of;
using testing::AllOf;
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

// 500 examples of 1 to 40 tokens.
std::vector<int32_t> many_lengths() {
  std::vector<int32_t> lengths;
  for (int i = 0; i < 500; ++i) lengths.push_back(1 + i * 7919 % 40);
  return lengths;
}

SamplerOptions by_tokens(Sampling sampling, int64_t max_tokens, int64_t processes = 1) {
  SamplerOptions o = options(sampling, 8);
  o.max_tokens = max_tokens;
  o.processes = processes;
  return o;
}

TEST(Sampler, FillsBatchesWithTokens) {
  constexpr int64_t kTokens = 100;
  const std::vector<int32_t> lengths = many_lengths();
  const auto tokens = [&](const std::vector<int64_t>& batch) {
    int64_t n = 0;
    for (const int64_t i : batch) n += lengths[static_cast<size_t>(i)];
    return n;
  };
  for (const Sampling sampling : {Sampling::random, Sampling::sequential, Sampling::group_by_length}) {
    Sampler sampler(500, by_tokens(sampling, kTokens), lengths);
    const int64_t batches = sampler.num_batches();
    const double mean = static_cast<double>(std::accumulate(lengths.begin(), lengths.end(), 0)) /
                        static_cast<double>(batches);
    EXPECT_GT(mean, kTokens - 40);  // no batch has room for another example
    std::vector<std::vector<std::vector<int64_t>>> epochs;
    for (const int64_t epoch : {0, 5}) {
      std::vector<int64_t> all;
      epochs.emplace_back();
      for (int64_t b = 0; b < batches; ++b) {
        epochs.back().push_back(sampler.batch(epoch, b));
        EXPECT_LE(tokens(epochs.back().back()), kTokens);
        all.insert(all.end(), epochs.back().back().begin(), epochs.back().back().end());
      }
      EXPECT_TRUE(is_permutation(all));
      EXPECT_TRUE(sampling != Sampling::sequential || std::is_sorted(all.begin(), all.end()));
    }
    EXPECT_EQ(epochs[0] == epochs[1], sampling == Sampling::sequential);
    // A function of (seed, epoch, index): any batch of any epoch, directly.
    Sampler again(500, by_tokens(sampling, kTokens), lengths);
    EXPECT_EQ(again.batch(5, batches / 2), epochs[1][static_cast<size_t>(batches / 2)]);
    EXPECT_EQ(again.batch(0, 1), epochs[0][1]);
  }
}

// Other neighbours in every epoch, and over the epochs many of them.
TEST(Sampler, TokenBatchesAreMixedInEveryEpoch) {
  const std::vector<int32_t> lengths = many_lengths();
  Sampler sampler(500, by_tokens(Sampling::random, 100), lengths);
  std::vector<std::vector<int64_t>> neighbours;
  std::vector<int64_t> places;
  for (int64_t epoch = 0; epoch < 20; ++epoch)
    for (int64_t b = 0; b < sampler.num_batches(); ++b) {
      const std::vector<int64_t> batch = sampler.batch(epoch, b);
      if (std::find(batch.begin(), batch.end(), 7) == batch.end()) continue;
      neighbours.push_back(batch);
      places.push_back(b);
    }
  ASSERT_EQ(neighbours.size(), 20u);
  std::sort(places.begin(), places.end());
  EXPECT_GT(std::unique(places.begin(), places.end()) - places.begin(), 12);
  std::vector<int64_t> met;
  for (const auto& batch : neighbours) met.insert(met.end(), batch.begin(), batch.end());
  std::sort(met.begin(), met.end());
  EXPECT_GT(std::unique(met.begin(), met.end()) - met.begin(), 40);
}

// Examples of one length are shuffled as freely as in batches of examples.
TEST(Sampler, TokenBatchesOfOneLengthAreRandom) {
  Sampler sampler(6, by_tokens(Sampling::random, 20), std::vector<int32_t>(6, 10));
  EXPECT_EQ(sampler.num_batches(), 3);
  std::vector<int> first(6, 0);
  for (int64_t epoch = 0; epoch < 6000; ++epoch) ++first[static_cast<size_t>(sampler.batch(epoch, 0)[0])];
  for (const int n : first) EXPECT_NEAR(n, 1000, 5 * 28.9);
}

TEST(Sampler, TokenBatchesOfSeveralProcesses) {
  const std::vector<int32_t> lengths = many_lengths();
  const auto length = [&](int64_t i) { return lengths[static_cast<size_t>(i)]; };
  Sampler one(500, by_tokens(Sampling::random, 100), lengths),
      three(500, by_tokens(Sampling::random, 100, 3), lengths);
  EXPECT_EQ(three.num_batches(), (one.num_batches() + 2) / 3);
  for (int64_t b = 0; b < three.num_batches(); ++b) {
    const std::vector<int64_t> batch = three.batch(4, b);
    const size_t parts = token_cuts(batch, length, 100).size();
    EXPECT_TRUE(b == 0 || parts <= 3);
  }
}

TEST(Sampler, TokenBatchesAtTheEdges) {
  SamplerOptions drop = by_tokens(Sampling::sequential, 10);
  drop.drop_last = true;
  EXPECT_EQ(Sampler(4, drop, {5, 5, 9, 1}).num_batches(), 2);  // the last one is full
  EXPECT_EQ(Sampler(5, drop, {5, 5, 9, 1, 3}).num_batches(), 2);
  EXPECT_EQ(Sampler(1, drop, {3}).num_batches(), 0);
  EXPECT_EQ(Sampler(0, by_tokens(Sampling::random, 10)).num_batches(), 0);
  EXPECT_EQ(Sampler(0, by_tokens(Sampling::group_by_length, 10)).num_batches(), 0);
  EXPECT_EQ(Sampler(3, by_tokens(Sampling::group_by_length, 10), {10, 10, 10}).num_batches(), 3);
  EXPECT_THAT(error_of([] {
                Sampler(3, by_tokens(Sampling::random, 10), {3, 11, 2});
              }),
              AllOf(HasSubstr("example 2 of the training data has 11 tokens"),
                    HasSubstr("--max_tokens_per_batch 11")));
  EXPECT_THAT(error_of([] { Sampler(3, by_tokens(Sampling::random, 10), {3}); }),
              HasSubstr("each of 3 examples, got 1"));
}

TEST(Sampler, Names) {
  EXPECT_EQ(parse_sampling("group_by_length"), Sampling::group_by_length);
  EXPECT_THAT(error_of([] { parse_sampling("randon"); }), HasSubstr("did you mean 'random'?"));
}

}  // namespace
}  // namespace graft::data
