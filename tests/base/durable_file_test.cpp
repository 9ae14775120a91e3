#include "base/durable_file.h"

#include "base/file.h"
#include "support/shared.h"

namespace graft {
namespace {
namespace fs = std::filesystem;

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(DurableFile, AppearsOnCommitOnly) {
  const test::TempDir folder;
  folder.write("f", "old");
  {
    DurableFile file(folder / "f", 3);
    file.write("new", 3);
    EXPECT_EQ(read_file(folder / "f"), "old");
  }
  EXPECT_EQ(read_file(folder / "f"), "old");
  EXPECT_FALSE(fs::exists(folder / "f.tmp"));
  DurableFile file(folder / "f", 3);
  file.write("new", 3);
  file.commit();
  EXPECT_EQ(read_file(folder / "f"), "new");
  EXPECT_FALSE(fs::exists(folder / "f.tmp"));
}

// /dev/full answers every write with "no space left": the temporary is led there.
TEST(DurableFile, AFullDiskLeavesTheOldFile) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "needs /dev/full";
  const test::TempDir folder;
  folder.write("f", "old");
  fs::create_symlink("/dev/full", folder / "f.tmp");
  const std::string error = test::error_of([&] { write_file(folder / "f", std::string(4104, 'x')); });
  EXPECT_THAT(error, AllOf(HasSubstr((folder / "f").string() + ": cannot write it: No space left"),
                           HasSubstr("the file needs 4104 bytes"), HasSubstr("the old file is unchanged")));
  EXPECT_EQ(read_file(folder / "f"), "old");
  fs::create_symlink("/dev/full", folder / "fresh.tmp");
  EXPECT_THAT(test::error_of([&] { write_file(folder / "fresh", "x"); }),
              AllOf(HasSubstr("fresh: cannot write it: No space left"), HasSubstr("free some space"),
                    testing::Not(HasSubstr("the old file"))));
}

TEST(DurableFile, SaysWhyItCannotBeCreated) {
  const test::TempDir folder;
  EXPECT_THAT(test::error_of([&] { DurableFile(folder / "absent/f", 1); }),
              HasSubstr("absent/f: cannot create it: No such file or directory"));
}

}  // namespace
}  // namespace graft
