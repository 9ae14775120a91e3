// A lock between processes and threads: flock on a file, as Python's filelock takes it.
#pragma once
#include <atomic>
#include <filesystem>

namespace graft::hub {

// Held during its lifetime. The constructor waits for another holder; if `stop` becomes true, it throws
// Error.
class FileLock {
 public:
  FileLock(const std::filesystem::path& path, const std::atomic<bool>& stop);
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  int fd_ = -1;
};

}  // namespace graft::hub
