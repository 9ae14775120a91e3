#include "support/shared.h"

#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "graft/error.h"

namespace graft::test {
namespace fs = std::filesystem;

fs::path shared_root() {
  if (const char* path = std::getenv("GRAFT_SHARED")) return path;
  return fs::path(GRAFT_SOURCE_DIR) / ".." / "shared";
}

fs::path fixture_path(const fs::path& relative) {
  const fs::path committed = fs::path(GRAFT_SOURCE_DIR) / "tests" / relative;
  return fs::exists(committed) ? committed : shared_root() / relative;
}

std::vector<fs::path> golden_roots() {
  std::vector<fs::path> roots = {fs::path(GRAFT_SOURCE_DIR) / "tests/golden"};
  if (fs::exists(shared_root())) roots.push_back(shared_root() / "golden");
  return roots;
}

TempDir::TempDir() {
  std::string pattern = (fs::temp_directory_path() / "graft-test-XXXXXX").string();
  path_ = ::mkdtemp(pattern.data());
}

TempDir::~TempDir() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

fs::path TempDir::write(const std::string& name, const std::string& content) const {
  fs::create_directories((path_ / name).parent_path());
  std::ofstream(path_ / name, std::ios::binary) << content;
  return path_ / name;
}

std::string error_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    return std::string(e.what()) + "\n" + e.hint();
  }
  ADD_FAILURE() << "an Error was expected";
  return "";
}

}  // namespace graft::test
