// The checksum of TFRecord files.
#include "report/crc32c.h"

#include <gtest/gtest.h>

#include <string>

namespace graft::report {
namespace {

// RFC 3720, appendix B.4, and the check value of the CRC catalogue.
TEST(Crc32c, HasThePublishedValues) {
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8A9136AAu);
  EXPECT_EQ(crc32c(std::string(32, '\xFF')), 0x62A8AB43u);
  EXPECT_EQ(crc32c("123456789"), 0xE3069283u);
  EXPECT_EQ(crc32c(""), 0u);
}

// Of the length 24, with which event files of TensorFlow begin.
TEST(Crc32c, IsMaskedAsInTfRecords) {
  EXPECT_EQ(masked_crc32c(std::string("\x18\0\0\0\0\0\0\0", 8)), 0x224B7FA3u);
}

}  // namespace
}  // namespace graft::report
