// Folders and their content. A failed operation throws Error with the path; exceptions of std::filesystem do
// not leave the library (tests/house/filesystem_test.cpp).
#pragma once
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace graft {

// False for a path that does not exist. Throws Error if that cannot be determined (no permission, a name that
// is too long).
bool path_exists(const std::filesystem::path& path);
bool is_folder(const std::filesystem::path& path);
bool is_file(const std::filesystem::path& path);

void make_folders(const std::filesystem::path& folder);                               // with its parents
std::vector<std::filesystem::path> list_folder(const std::filesystem::path& folder);  // sorted
// no error if it does not exist
void remove_tree(const std::filesystem::path& path);
// no error if it does not exist
void remove_file(const std::filesystem::path& path);
void move_path(const std::filesystem::path& from, const std::filesystem::path& to);

// Replaces the folder `former`, which may be absent, by `fresh`. Both must be on one file system. The
// exchange is atomic if the system supports it; else a crash may leave the old folder as `former` +
// ".former".
void replace_folder(const std::filesystem::path& fresh, const std::filesystem::path& former);

// Replaces several files of a folder together; the folder may hold others. New files are written into path(),
// a subfolder of the target, and publish() moves them. After a crash at any time the target has the old
// files, the new files, or no `key` file, in which case no program loads it.
class StagedFiles {
 public:
  // Creates the target and removes the remains of an interrupted save from path().
  explicit StagedFiles(std::filesystem::path target);
  ~StagedFiles();  // without publish(): the target's files stay unchanged
  StagedFiles(const StagedFiles&) = delete;
  StagedFiles& operator=(const StagedFiles&) = delete;

  const std::filesystem::path& path() const { return path_; }
  // Moves the files. `key` is removed first and moved last. Removes files of the target that are not among
  // the new ones and for which `is_stale(name)` is true.
  void publish(const std::string& key, const std::function<bool(const std::string&)>& is_stale);

 private:
  std::filesystem::path target_, path_;
};

// The folder in which StagedFiles keeps the files of `target` until publish().
std::filesystem::path staging_folder(const std::filesystem::path& target);

}  // namespace graft
