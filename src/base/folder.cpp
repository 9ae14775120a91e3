#include "base/folder.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "base/durable_file.h"
#include "base/error.h"

namespace graft {
namespace fs = std::filesystem;

namespace {

fs::file_status status_of(const fs::path& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (status.type() == fs::file_type::none) fail("{}: {}", path.string(), error.message());
  return status;
}

void check(const std::error_code& error, const fs::path& path, const char* what) {
  if (!error) return;
  const bool full = error == std::errc::no_space_on_device;
  fail_with(full ? "free some space on that disk, or choose another folder" : "", "{}: {}: {}", path.string(),
            what, error.message());
}

}  // namespace

bool path_exists(const fs::path& path) { return fs::exists(status_of(path)); }
bool is_folder(const fs::path& path) { return fs::is_directory(status_of(path)); }
bool is_file(const fs::path& path) { return fs::is_regular_file(status_of(path)); }

void make_folders(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  check(error, folder, "cannot make this folder");
}

std::vector<fs::path> list_folder(const fs::path& folder) {
  std::vector<fs::path> paths;
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error))
    paths.push_back(at->path());
  check(error, folder, "cannot read this folder");
  std::sort(paths.begin(), paths.end());
  return paths;
}

void remove_tree(const fs::path& path) {
  std::error_code error;
  fs::remove_all(path, error);
  check(error, path, "cannot remove it");
}

void remove_file(const fs::path& path) {
  std::error_code error;
  fs::remove(path, error);
  check(error, path, "cannot remove it");
}

void move_path(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::rename(from, to, error);
  if (error) fail("{}: cannot rename it to {}: {}", from.string(), to.string(), error.message());
}

void replace_folder(const fs::path& fresh, const fs::path& former) {
  const fs::path aside = former.string() + ".former";
  if (!path_exists(former)) {
    move_path(fresh, former);
  } else if (::renameat2(AT_FDCWD, fresh.c_str(), AT_FDCWD, former.c_str(), RENAME_EXCHANGE) == 0) {
    sync_folder(former.parent_path());
    return remove_tree(fresh);  // after the exchange it is the old folder
  } else {                      // a file system without an atomic exchange
    remove_tree(aside);
    move_path(former, aside);
    move_path(fresh, former);
  }
  sync_folder(former.parent_path());
  remove_tree(aside);
}

fs::path staging_folder(const fs::path& target) { return target / ".graft-saving"; }

StagedFiles::StagedFiles(fs::path target) : target_(std::move(target)), path_(staging_folder(target_)) {
  make_folders(target_);
  remove_tree(path_);
  make_folders(path_);
}

StagedFiles::~StagedFiles() {
  std::error_code ignored;  // after publish() there is nothing to remove
  if (!path_.empty()) fs::remove_all(path_, ignored);
}

void StagedFiles::publish(const std::string& key, const std::function<bool(const std::string&)>& is_stale) {
  sync_folder(path_);
  const std::vector<fs::path> files = list_folder(path_);
  const auto is_new = [&](const fs::path& file) { return path_exists(path_ / file.filename()); };
  std::vector<fs::path> stale;
  for (const fs::path& file : list_folder(target_))
    if (is_stale(file.filename().string()) && !is_new(file)) stale.push_back(file);
  const fs::path staging = std::exchange(path_, fs::path());  // after this line a repair needs the folder
  if (fs::path old = target_ / key; path_exists(staging / key) && path_exists(old)) {
    remove_file(old);
    sync_folder(target_);
  }
  for (const fs::path& file : stale) remove_tree(file);
  for (const fs::path& file : files) {
    if (file.filename() == key) continue;
    const fs::path place = target_ / file.filename();
    if (is_folder(file)) remove_tree(place);
    move_path(file, place);
  }
  sync_folder(target_);
  if (path_exists(staging / key)) move_path(staging / key, target_ / key);
  sync_folder(target_);
  remove_tree(staging);
}

}  // namespace graft
