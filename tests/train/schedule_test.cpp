// The learning rate's factor, against transformers.get_scheduler worked out by hand.
#include "train/schedule.h"

#include <cmath>

#include "support/shared.h"

namespace graft::train {
namespace {
using testing::AllOf;
using testing::HasSubstr;

std::vector<double> factors(const char* name, int64_t warmup, int64_t total) {
  std::vector<double> out;
  for (int64_t s = 0; s <= total; ++s) out.push_back(schedule_factor(parse_schedule(name), s, warmup, total));
  return out;
}

void expect_near(const std::vector<double>& got, const std::vector<double>& expected) {
  ASSERT_EQ(got.size(), expected.size());
  for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], expected[i], 1e-12) << "step " << i;
}

TEST(Schedule, Linear) {
  expect_near(factors("linear", 0, 4), {1, 0.75, 0.5, 0.25, 0});
  expect_near(factors("linear", 2, 10), {0, 0.5, 1, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125, 0});
  expect_near(factors("linear", 4, 4), {0, 0.25, 0.5, 0.75, 0});  // all of it warm-up: (4 - 4) / max(1, 0)
  EXPECT_EQ(schedule_factor(Schedule::linear, 12, 2, 10), 0);     // never below zero
}

TEST(Schedule, Constant) {
  expect_near(factors("constant", 0, 3), {1, 1, 1, 1});
  expect_near(factors("constant", 2, 3), {1, 1, 1, 1});  // the reference's has no warm-up either
  expect_near(factors("constant_with_warmup", 2, 4), {0, 0.5, 1, 1, 1});
}

TEST(Schedule, Cosine) {
  // 0.5 (1 + cos(pi t)), t = 0, 1/4, 1/2, 3/4, 1: cos(pi/4) = 0.70710678118654752
  expect_near(factors("cosine", 0, 4), {1, 0.85355339059327376, 0.5, 0.14644660940672624, 0});
  expect_near(factors("cosine", 2, 6), {0, 0.5, 1, 0.85355339059327376, 0.5, 0.14644660940672624, 0});
}

TEST(Schedule, AnUnknownNameGetsTheNearest) {
  EXPECT_THAT(test::error_of([] { parse_schedule("cosin"); }),
              AllOf(HasSubstr("cosin"), HasSubstr("did you mean cosine")));
  EXPECT_THAT(test::error_of([] { parse_schedule("polynomial"); }), HasSubstr("linear, cosine, constant"));
}

}  // namespace
}  // namespace graft::train
