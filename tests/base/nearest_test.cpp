#include "base/nearest.h"

#include <gtest/gtest.h>

namespace graft {
namespace {

TEST(Nearest, CountsEdits) {
  EXPECT_EQ(edit_distance("", "abc"), 3u);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
  EXPECT_EQ(edit_distance("ab", "ba"), 1u);
}

TEST(Nearest, FindsTheNearNameOrNone) {
  const std::vector<std::string> known = {"learning_rate", "weight_decay", "seed"};
  EXPECT_EQ(nearest_name("learning_rat", known), "learning_rate");
  EXPECT_EQ(nearest_name("sed", known), "seed");
  EXPECT_EQ(nearest_name("zzzzzzzz", known), "");
}

}  // namespace
}  // namespace graft
