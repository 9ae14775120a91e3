// docs/complaints.md: every complaint of users of the reference has tests, and they exist.
#include <filesystem>
#include <regex>
#include <set>
#include <sstream>

#include "base/file.h"
#include "support/shared.h"

namespace graft {
namespace {
namespace fs = std::filesystem;

std::set<std::string> tests_of_the_project() {
  static const std::regex test(R"(\bTEST(?:_F|_P)?\((\w+),\s*(\w+)\))");
  std::set<std::string> names;
  for (const auto& entry : fs::recursive_directory_iterator(fs::path(GRAFT_SOURCE_DIR) / "tests")) {
    if (entry.path().extension() != ".cpp") continue;
    const std::string text = read_file(entry.path());
    for (std::sregex_iterator it(text.begin(), text.end(), test), end; it != end; ++it)
      names.insert((*it)[1].str() + "." + (*it)[2].str());
  }
  return names;
}

TEST(Complaints, EachNamesTestsThatExist) {
  const std::set<std::string> tests = tests_of_the_project();
  ASSERT_GT(tests.size(), 1000u);
  static const std::regex name(R"(`(\w+\.\w+)`)");
  std::istringstream lines(read_file(fs::path(GRAFT_SOURCE_DIR) / "docs/complaints.md"));
  std::set<int> numbers;
  for (std::string line; std::getline(lines, line);) {
    if (line.size() < 3 || line[0] != '|' || line[2] < '0' || line[2] > '9') continue;
    const int number = std::stoi(line.substr(2));
    EXPECT_TRUE(numbers.insert(number).second) << "complaint " << number << " has two rows";
    const std::string cell = line.substr(line.rfind('|', line.size() - 2));
    int found = 0;
    for (std::sregex_iterator it(cell.begin(), cell.end(), name), end; it != end; ++it, ++found)
      EXPECT_TRUE(tests.contains((*it)[1].str()))
          << "complaint " << number << ": there is no test " << (*it)[1];
    EXPECT_TRUE(found > 0 || line.find("| Not yet: ") != std::string::npos) << "complaint " << number;
  }
  for (int number = 1; number <= 22; ++number)
    EXPECT_TRUE(numbers.contains(number)) << "complaint " << number << " has no row";
}

}  // namespace
}  // namespace graft
