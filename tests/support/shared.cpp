#include "support/shared.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "graft/error.h"

namespace graft::test {
namespace fs = std::filesystem;

fs::path shared_root() {
  if (const char* path = std::getenv("GRAFT_SHARED")) return path;
  return fs::path(GRAFT_SOURCE_DIR) / ".." / "shared";
}

namespace {

fs::path committed_root() { return fs::path(GRAFT_SOURCE_DIR) / "tests/golden"; }

}  // namespace

fs::path fixture_path(const fs::path& relative) {
  const fs::path committed = committed_root() / relative.lexically_relative(*relative.begin());
  return fs::exists(committed) ? committed : shared_root() / relative;
}

std::vector<fs::path> golden_roots() {
  std::vector<fs::path> roots = {committed_root()};
  if (fs::exists(shared_root())) roots.push_back(shared_root() / "golden");
  return roots;
}

std::vector<std::string> available_tokenizers(const std::vector<std::string>& names) {
  std::vector<std::string> available;
  for (const std::string& name : names) {
    if (fs::exists(fixture_path("data/tokenizers/" + name))) available.push_back(name);
  }
  if (available.size() < names.size() && fs::exists(shared_root()))
    available.push_back("the real tokenizers");
  return available;
}

fs::path real_checkpoint() {
  if (const char* path = std::getenv("GRAFT_CHECKPOINT")) return path;
  FILE* pipe = ::popen("'" GRAFT_SOURCE_DIR "/scripts/get-model.sh' 2>/dev/null", "r");
  if (!pipe) return {};
  std::string line;
  for (int c = 0; (c = std::fgetc(pipe)) != EOF && c != '\n';) line += static_cast<char>(c);
  return ::pclose(pipe) == 0 ? fs::path(line) : fs::path();
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
