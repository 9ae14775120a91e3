#include "base/file.h"

#include <gtest/gtest.h>

#include "support/shared.h"

namespace graft {
namespace {

TEST(File, MapsReadsAndReplaces) {
  const test::TempDir dir;
  write_file(dir / "a", "one");
  write_file(dir / "a", "two");
  EXPECT_EQ(read_file(dir / "a"), "two");
  const MappedFile mapped(dir / "a");
  EXPECT_EQ(mapped.text(), "two");
  EXPECT_FALSE(std::filesystem::exists(dir / "a.tmp"));
  dir.write("empty", "");
  EXPECT_EQ(MappedFile(dir / "empty").size(), 0u);
}

TEST(File, ErrorsNameThePath) {
  const test::TempDir dir;
  EXPECT_THAT(test::error_of([&] { read_file(dir / "none"); }), testing::HasSubstr("none: No such file"));
  EXPECT_THAT(test::error_of([&] { MappedFile(dir.path()); }), testing::HasSubstr("is a folder"));
  EXPECT_THAT(test::error_of([&] { write_file(dir / "no/such/x", ""); }),
              testing::HasSubstr("cannot create"));
}

}  // namespace
}  // namespace graft
