// A lock between processes and threads: flock on a file, as Python's filelock takes it.
#pragma once
#include <atomic>
#include <filesystem>

namespace graft::hub {

// Held from construction to destruction. Waits for another holder; `stop` becoming true ends the wait with an
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
