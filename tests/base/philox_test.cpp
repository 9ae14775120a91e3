#include "base/philox.h"

#include <gtest/gtest.h>

#include <set>

namespace graft {
namespace {

// Known answers of the Random123 distribution (kat_vectors, philox4x32 10 rounds).
TEST(Philox, KnownAnswers) {
  EXPECT_EQ(philox4x32({0, 0}, {0, 0, 0, 0}),
            (std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox4x32({0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}),
            (std::array<uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0xa4093822, 0x299f31d0}, {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}),
            (std::array<uint32_t, 4>{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Philox, KeysDifferInEveryPart) {
  std::set<uint64_t> keys;
  for (uint64_t seed = 0; seed < 4; ++seed)
    for (uint64_t step = 0; step < 4; ++step)
      for (const char* name : {"a", "b", "ab"}) {
        const PhiloxKey k = philox_key(seed, step, name);
        keys.insert(uint64_t{k.k0} << 32 | k.k1);
      }
  EXPECT_EQ(keys.size(), 48u);
}

TEST(Philox, StreamIsUniformAndNormal) {
  PhiloxStream stream(philox_key(1, 2, "x"));
  double sum = 0, square = 0;
  for (int i = 0; i < 100000; ++i) {
    const double x = stream.normal();
    sum += x;
    square += x * x;
  }
  EXPECT_NEAR(sum / 1e5, 0, 0.02);
  EXPECT_NEAR(square / 1e5, 1, 0.02);
  for (int i = 0; i < 1000; ++i) EXPECT_LT(stream.below(7), 7u);
}

}  // namespace
}  // namespace graft
