#include "engine/cpu/isa.h"

#include <gmock/gmock.h>
#include <hwy/highway.h>

#include <cstdlib>

#include "support/shared.h"

namespace graft::engine::cpu {
namespace {

// A better target has a lower bit: a target of a release to come is off, too.
TEST(Isa, ACapTurnsOffAllBetterTargets) {
  for (int64_t better = 1; better < HWY_AVX2; better *= 2) {
    EXPECT_NE(targets_above("avx2") & better, 0) << better;
    EXPECT_NE(targets_above("baseline") & better, 0) << better;
  }
  EXPECT_NE(targets_above("baseline") & HWY_AVX2, 0);
  EXPECT_NE(targets_above("avx512") & HWY_AVX3_DL, 0);
  EXPECT_EQ(targets_above("avx512") & (HWY_AVX3 | HWY_AVX2 | HWY_SSE4), 0);
  EXPECT_EQ(targets_above("avx2") & (HWY_AVX2 | HWY_SSE4), 0);
  EXPECT_EQ(targets_above("baseline") & HWY_SSE4, 0);
  EXPECT_THAT(graft::test::error_of([] { targets_above("sse9"); }),
              testing::HasSubstr("GRAFT_ISA=sse9 is not known"));
}

TEST(Isa, TheCapIsInForce) {
  const auto level = [](const std::string& name) { return name == "avx512" ? 2 : name == "avx2" ? 1 : 0; };
  const char* wanted = std::getenv("GRAFT_ISA");
  if (wanted && *wanted) {
    EXPECT_LE(level(isa_name()), level(wanted));
  }
  EXPECT_EQ(HWY_TARGETS & (HWY_AVX3 - 1), 0) << "the build has targets that GRAFT_ISA does not name";
}

}  // namespace
}  // namespace graft::engine::cpu
