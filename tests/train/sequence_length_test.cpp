#include "train/sequence_length.h"

#include "support/shared.h"

namespace graft::train {
namespace {
using test::error_of;
using testing::AllOf;
using testing::HasSubstr;

TEST(SequenceLength, ZeroIsNoLimit) {
  EXPECT_EQ(smaller_limit(512, 128), 128);
  EXPECT_EQ(smaller_limit(0, 128), 128);
  EXPECT_EQ(smaller_limit(512, 0), 512);
  EXPECT_EQ(smaller_limit(0, 0), 0);
  EXPECT_EQ(default_length(128, 512), 128);
  EXPECT_EQ(default_length(128, 0), 128);
  EXPECT_EQ(default_length(128, 40), 40);
  EXPECT_EQ(default_length(0, 512), 512);
  EXPECT_EQ(default_length(0, 0), 1024);
}

TEST(SequenceLength, TheMessageNamesTheOption) {
  check_length(1000000, 0, 2);
  check_length(3, 512, 2);
  check_length(1, 512, 0);
  EXPECT_THAT(error_of([] { check_length(513, 512, 2); }),
              AllOf(HasSubstr("--max_seq_length 513"), HasSubstr("use --max_seq_length 512 or less")));
  EXPECT_THAT(error_of([] { check_length(1, 512, 2); }),
              AllOf(HasSubstr("--max_seq_length 1"), HasSubstr("2 special tokens")));
}

}  // namespace
}  // namespace graft::train
