// Where the reference fixtures and data are (committed, or beside the project), and what a test does without
// them.
#pragma once
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace graft::test {

// ../shared beside the source tree, or $GRAFT_SHARED.
std::filesystem::path shared_root();
// "golden/bert/mlm" or "data/tokenizers/gpt2": the committed copy, tests/golden/bert/mlm or
// tests/golden/tokenizers/gpt2, where there is one, or else the path below ../shared.
std::filesystem::path fixture_path(const std::filesystem::path& relative);
// The folders "golden" that are there: the committed one, and that of ../shared.
std::vector<std::filesystem::path> golden_roots();
// The names of tokenizers whose files are there. Where some are not, a last name stands for them: its test
// skips.
std::vector<std::string> available_tokenizers(const std::vector<std::string>& names);
// The folder of all-MiniLM-L6-v2: $GRAFT_CHECKPOINT (empty: there is none), else what scripts/get-model.sh
// prints. Empty where no source has it.
std::filesystem::path real_checkpoint();
// A fresh folder under the system's temporary folder, removed when the object dies.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  // Writes a file in it and returns its path.
  std::filesystem::path write(const std::string& name, const std::string& content) const;

 private:
  std::filesystem::path path_;
};

// what() + "\n" + hint() of the graft::Error that f throws; a test failure and "" when it throws none.
std::string error_of(const std::function<void()>& f);

}  // namespace graft::test

// Declares `variable`, a fixture or other reference data. When neither the committed copy nor ../shared has
// it, the test skips with a clear line; where ../shared exists, a path that is missing is a failure.
#define GRAFT_SHARED_PATH(variable, relative)                                                           \
  const std::filesystem::path variable = graft::test::fixture_path(relative);                           \
  if (!std::filesystem::exists(variable) && !std::filesystem::exists(graft::test::shared_root()))       \
    GTEST_SKIP() << "needs " << (relative) << " of the reference data in ../shared, which is not here"; \
  ASSERT_TRUE(std::filesystem::exists(variable)) << variable << " is missing from ../shared"

// Declares `variable`, the folder of the real checkpoint. Where no source has it the test skips with a clear
// line; with GRAFT_REQUIRE_CHECKPOINT set (CI) that is a failure.
#define GRAFT_REAL_CHECKPOINT(variable)                                                                     \
  const std::filesystem::path variable = graft::test::real_checkpoint();                                    \
  if ((variable).empty() && !std::getenv("GRAFT_REQUIRE_CHECKPOINT"))                                       \
    GTEST_SKIP() << "needs the checkpoint all-MiniLM-L6-v2, which no source has: see scripts/get-model.sh"; \
  ASSERT_FALSE((variable).empty()) << "scripts/get-model.sh found no source of the checkpoint"
