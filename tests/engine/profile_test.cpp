// The recorder counts what ran, changes no number and costs nothing while it is off.
#include "engine/profile.h"

#include <map>
#include <set>

#include "base/threads.h"
#include "engine/finite.h"
#include "engine/plain_twins.h"

namespace graft::engine::test {
namespace {

std::map<std::string, OperationProfile> by_name() {
  std::map<std::string, OperationProfile> out;
  for (const OperationProfile& p : profile()) out.emplace(p.name, p);
  return out;
}

struct Projection {
  ParameterStore store;
  Linear layer{declare(store, "weight", {40, 20}), declare(store, "bias", {40}), 1};
  Matrix x = random_matrix(33, 20, "x");
  Projection() { fill_store(store); }
  Pass run() {
    return run_pass(store, {x}, [&](Tape& t, const auto& in) { return linear(t, in[0], layer); });
  }
};

class ProfileTest : public testing::Test {
 protected:
  void TearDown() override { set_profiling(false); }
};

TEST_F(ProfileTest, CountsCallsTimeAndProducts) {
  Projection p;
  const Pass untimed = p.run();
  set_profiling(true);
  expect_same_bits(untimed, p.run(), "with the clock");
  p.run();
  const auto sums = by_name();
  ASSERT_EQ(sums.count("linear"), 1u);
  const OperationProfile& forward = sums.at("linear");
  EXPECT_EQ(forward.calls, 2);
  EXPECT_GT(forward.seconds, 0);
  EXPECT_EQ(forward.flops, 2.0 * 2 * 33 * 20 * 40);
  EXPECT_EQ(forward.bytes, 2.0 * 4 * (33 * 20 + 20 * 40 + 33 * 40));
  EXPECT_EQ(sums.at("linear_backward").flops, 2 * forward.flops);
  EXPECT_EQ(sums.count("attention"), 0u);
}

TEST_F(ProfileTest, OffCountsNothingAndOnStartsFromZero) {
  Projection p;
  set_profiling(true);
  const Kernels* timed = &cpu_kernels();
  p.run();
  set_profiling(false);
  EXPECT_TRUE(profile().empty());
  EXPECT_NE(&cpu_kernels(), timed);
  p.run();
  EXPECT_TRUE(profile().empty());
  set_profiling(true);
  p.run();
  EXPECT_EQ(by_name().at("linear").calls, 1);
}

TEST_F(ProfileTest, AttentionCountsPairsOfRows) {
  set_profiling(true);
  const Batch batch({5, 9});
  ParameterStore store;
  fill_store(store);
  AttentionOptions options;
  options.num_heads = 2;
  options.head_dim = 8;
  run_pass(store, {random_matrix(14, 48, "qkv")}, [&](Tape& t, const auto& in) {
    return attention(t, {in[0], 0}, {in[0], 16}, {in[0], 32}, options, "a", batch.rows(), batch.rows());
  });
  EXPECT_EQ(by_name().at("attention").flops, 4.0 * (25 + 81) * 16);
  EXPECT_EQ(by_name().at("attention_backward").flops, 8.0 * (25 + 81) * 16);
}

// The tables that are made from the list of operations.
TEST_F(ProfileTest, EveryTableHasEveryOperationOnce) {
  ParameterStore store;
  const FiniteCheck check(store);
  set_profiling(false);
  const Kernels& untimed = cpu_kernels();
  set_profiling(true);
  std::set<std::string> names;
  each_operation([&]<class Op>(const Op& operation) {
    for (const Kernels* table : {&untimed, &cpu_kernels(), &plan_kernels(), &check.kernels()})
      EXPECT_TRUE(table->*Op::member) << operation.name;
    EXPECT_TRUE(names.insert(operation.name).second) << operation.name << " twice";
  });
}

// Optimizers call kernels from inside parallel loops: all calls count, their time by the share of a thread.
TEST_F(ProfileTest, CallsFromManyThreadsAllCount) {
  set_profiling(true);
  const Kernels& kernels = cpu_kernels();
  std::vector<float> x(64, 1.0f);
  set_num_threads(4);
  parallel_for(1000, [&](int64_t) { kernels.sum_of_squares(x.data(), 64); });
  set_num_threads(0);
  EXPECT_EQ(by_name().at("sum_of_squares").calls, 1000);
  EXPECT_EQ(by_name().at("sum_of_squares").bytes, 1000.0 * 64 * 4);
}

}  // namespace
}  // namespace graft::engine::test
