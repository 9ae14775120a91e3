// std::filesystem's exceptions do not leave the library: its throwing functions are called nowhere but in
// base/folder.cpp, which turns what goes wrong into an Error with the path.
#include <regex>

#include "base/file.h"
#include "support/shared.h"

namespace graft {
namespace {
namespace fs = std::filesystem;

// Calls without an error_code, in one line of code ("" = none).
std::string throwing_call(const std::string& line) {
  static const std::regex call(
      R"((?:std::filesystem|\bfs)::(exists|is_\w+|file_size|create_\w+|copy\w*|rename|remove\w*|space|status|absolute|)"
      R"(relative|canonical|weakly_canonical|resize_file|last_write_time|equivalent|temp_directory_path|)"
      R"(current_path|permissions|read_symlink|(?:recursive_)?directory_iterator)(?: \w+)?\()");
  std::smatch found;
  if (!std::regex_search(line, found, call)) return "";
  return line.find("error") != std::string::npos || line.find("ignored") != std::string::npos
             ? ""
             : found[1].str();
}

TEST(Filesystem, OnlyFormsThatDoNotThrowAreCalled) {
  int files = 0;
  for (const auto& entry : fs::recursive_directory_iterator(fs::path(GRAFT_SOURCE_DIR) / "src")) {
    const fs::path path = entry.path();
    if ((path.extension() != ".cpp" && path.extension() != ".h") || path.filename() == "folder.cpp") continue;
    ++files;
    std::istringstream lines(read_file(path));
    int number = 0;
    for (std::string line; std::getline(lines, line);)
      EXPECT_EQ(throwing_call((++number, line)), "") << path << ":" << number << ": use base/folder.h";
  }
  EXPECT_GT(files, 100);
}

TEST(Filesystem, TheCheckFindsThrowingCalls) {
  for (const char* line :
       {"if (fs::exists(a))", "std::filesystem::create_directories(a);", "fs::remove_all(x);",
        "for (const auto& e : fs::directory_iterator(p))", "fs::rename(a, b);"})
    EXPECT_NE(throwing_call(line), "") << line;
  for (const char* line : {"fs::exists(a, ignored)", "fs::rename(a, b, error);", "path_exists(a)",
                           "for (fs::directory_iterator at(p, error), end; at != end; at.increment(error))"})
    EXPECT_EQ(throwing_call(line), "") << line;
}

}  // namespace
}  // namespace graft
