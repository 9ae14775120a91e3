#include "base/folder.h"

#include "base/error.h"
#include "base/file.h"
#include "support/shared.h"

namespace graft {
namespace {
namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const fs::path& path : list_folder(folder)) names.push_back(path.filename().string());
  return names;
}

const auto kNothing = [](const std::string&) { return false; };

// Each throws in std::filesystem's own form: a name too long, a loop of links, a file in the place of a
// folder.
TEST(Folder, WhatTheFileSystemRefusesIsAnErrorWithThePath) {
  const test::TempDir dir;
  dir.write("file", "x");
  fs::create_symlink("loop", dir / "loop");
  const fs::path long_name = dir / std::string(300, 'n');
  for (const fs::path& bad : {long_name, dir / "loop"}) {
    EXPECT_THAT(test::error_of([&] { path_exists(bad); }), HasSubstr(bad.string()));
    EXPECT_THAT(test::error_of([&] { is_folder(bad); }), HasSubstr(bad.string()));
    EXPECT_THAT(test::error_of([&] { is_file(bad); }), HasSubstr(bad.string()));
    EXPECT_THAT(test::error_of([&] { list_folder(bad); }), HasSubstr(bad.string()));
  }
  EXPECT_THAT(test::error_of([&] { make_folders(dir / "file/below"); }), HasSubstr("file/below"));
  EXPECT_THAT(test::error_of([&] { list_folder(dir / "file"); }), HasSubstr("cannot read this folder"));
  EXPECT_THAT(test::error_of([&] { move_path(dir / "none", dir / "to"); }),
              AllOf(HasSubstr("none"), HasSubstr("cannot rename it to"), HasSubstr("No such file")));
  EXPECT_FALSE(path_exists(dir / "file/below"));
  EXPECT_FALSE(path_exists(dir / "none"));
  remove_file(dir / "none");
  remove_tree(dir / "none");
}

TEST(Folder, IsReplacedWhole) {
  const test::TempDir dir;
  dir.write("fresh/a", "new");
  replace_folder(dir / "fresh", dir / "kept");
  EXPECT_EQ(read_file(dir / "kept/a"), "new");
  dir.write("fresh/b", "newer");
  replace_folder(dir / "fresh", dir / "kept");
  EXPECT_THAT(names_in(dir / "kept"), ElementsAre("b"));
  EXPECT_THAT(names_in(dir.path()), ElementsAre("kept"));
}

TEST(StagedFiles, ReplaceTogetherAndLeaveTheRest) {
  const test::TempDir dir;
  for (const char* name : {"key", "a", "old-1", "mine", "sub/x"})
    dir.write(std::string("out/") + name, "old");
  {
    const StagedFiles abandoned(dir / "out");
    write_file(abandoned.path() / "a", "never");
  }
  EXPECT_THAT(names_in(dir / "out"), ElementsAre("a", "key", "mine", "old-1", "sub"));
  EXPECT_EQ(read_file(dir / "out/a"), "old");
  StagedFiles staged(dir / "out");
  for (const char* name : {"key", "a", "old-2"}) write_file(staged.path() / name, "new");
  make_folders(staged.path() / "sub");
  write_file(staged.path() / "sub" / "y", "new");
  EXPECT_EQ(read_file(dir / "out/a"), "old");
  staged.publish("key", [](const std::string& name) { return name.starts_with("old-"); });
  EXPECT_THAT(names_in(dir / "out"), ElementsAre("a", "key", "mine", "old-2", "sub"));
  EXPECT_THAT(names_in(dir / "out/sub"), ElementsAre("y"));
  for (const char* name : {"key", "a", "old-2"}) EXPECT_EQ(read_file(dir / "out" / name), "new") << name;
  EXPECT_EQ(read_file(dir / "out/mine"), "old");
}

// What stops publish() in the middle stands for a crash there: the key file is absent, so nothing loads a
// mixture, and the new files are all there.
TEST(StagedFiles, StoppedHalfWayNoKeyFileIsThere) {
  const test::TempDir dir;
  for (const char* name : {"key", "a", "c"}) dir.write(std::string("out/") + name, "old");
  dir.write("out/b/in-the-way", "");  // a folder: `b` cannot be moved there
  {
    StagedFiles staged(dir / "out");
    for (const char* name : {"key", "a", "b", "c"}) write_file(staged.path() / name, "new");
    EXPECT_THROW(staged.publish("key", kNothing), Error);
  }
  EXPECT_FALSE(path_exists(dir / "out/key"));
  EXPECT_EQ(read_file(dir / "out/a"), "new");
  for (const char* name : {"key", "b", "c"})
    EXPECT_EQ(read_file(staging_folder(dir / "out") / name), "new") << name;
  remove_tree(dir / "out/b");
  StagedFiles again(dir / "out");
  for (const char* name : {"key", "a", "b", "c"}) write_file(again.path() / name, "newer");
  again.publish("key", kNothing);
  EXPECT_THAT(names_in(dir / "out"), ElementsAre("a", "b", "c", "key"));
}

}  // namespace
}  // namespace graft
