#include "transfer/statistics.h"

#include <cmath>

#include "support/shared.h"

namespace graft::transfer {
namespace {

// scipy.stats.t.sf(t, df) * 2
TEST(Statistics, StudentsDistribution) {
  EXPECT_NEAR(student_p(0, 4), 1, 1e-12);
  EXPECT_NEAR(student_p(1, 1), 0.5, 1e-12);
  EXPECT_NEAR(student_p(4.302652729911275, 2), 0.05, 1e-10);
  EXPECT_NEAR(student_p(-2.7764451051977987, 4), 0.05, 1e-10);
  EXPECT_NEAR(student_p(2.2281388519649385, 10), 0.05, 1e-10);
  EXPECT_NEAR(student_p(12.706204736432095, 1), 0.05, 1e-10);
}

// scipy.stats.ttest_rel
TEST(Statistics, PairedTest) {
  const std::vector<double> a = {0.80, 0.82, 0.81, 0.79, 0.83}, b = {0.82, 0.83, 0.84, 0.80, 0.84};
  const PairedTest test = paired_t_test(a, b);
  EXPECT_NEAR(test.difference, 0.016, 1e-12);
  EXPECT_NEAR(test.t, 4.0, 1e-9);
  EXPECT_NEAR(test.p, 0.016130089900092, 1e-9);
  EXPECT_NEAR(standard_deviation(a), 0.0158113883, 1e-9);
  EXPECT_TRUE(std::isnan(paired_t_test({1}, {2}).p));
  EXPECT_DOUBLE_EQ(paired_t_test({1, 2}, {1, 2}).p, 1);
}

}  // namespace
}  // namespace graft::transfer
