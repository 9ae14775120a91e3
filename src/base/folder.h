// Folders and what is in them. What the file system refuses is an Error that names the path:
// std::filesystem's own exceptions do not leave the library (tests/house/filesystem_test.cpp).
#pragma once
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace graft {

// False for a path that does not exist; Error where that cannot be found out (a folder without the right to
// search it, a name that is too long).
bool path_exists(const std::filesystem::path& path);
bool is_folder(const std::filesystem::path& path);
bool is_file(const std::filesystem::path& path);

void make_folders(const std::filesystem::path& folder);                               // with its parents
std::vector<std::filesystem::path> list_folder(const std::filesystem::path& folder);  // sorted
void remove_tree(const std::filesystem::path& path);                                  // nothing there is fine
void remove_file(const std::filesystem::path& path);                                  // nothing there is fine
void move_path(const std::filesystem::path& from, const std::filesystem::path& to);

// Puts the folder `fresh` in the place of `former` (which may be absent; both on one file system) and removes
// the former one. In one step where the system can exchange two folders; else a crash may leave the former
// one renamed to `former` + ".former".
void replace_folder(const std::filesystem::path& fresh, const std::filesystem::path& former);

// Files that replace their former selves together, in a folder that also holds others. They are written into
// path(), a folder of its own inside the target; publish() moves them. A crash at any instant leaves the
// former files, the new ones, or a target without its `key` file, which no program loads: never a mixture.
class StagedFiles {
 public:
  // Makes the target, and removes what an interrupted save left in path().
  explicit StagedFiles(std::filesystem::path target);
  ~StagedFiles();  // without publish(): the target's files stay as they were
  StagedFiles(const StagedFiles&) = delete;
  StagedFiles& operator=(const StagedFiles&) = delete;

  const std::filesystem::path& path() const { return path_; }
  // Moves the files; the one named `key` leaves first and arrives last. Files of the target for which
  // `is_stale(name)` holds and that were not written anew are removed.
  void publish(const std::string& key, const std::function<bool(const std::string&)>& is_stale);

 private:
  std::filesystem::path target_, path_;
};

// Where StagedFiles puts the files of `target` until they are published.
std::filesystem::path staging_folder(const std::filesystem::path& target);

}  // namespace graft
