// One run at a time in an output folder.
#pragma once
#include <filesystem>

namespace graft::train {

// Holds output_dir/LOCK (flock) during its lifetime; the file has the process id and is removed afterwards. A
// file that a killed process left is no obstacle. Throws Error with the id where another process, or another
// object of this one, holds it. On a file system without locks it does nothing.
class OutputLock {
 public:
  OutputLock() = default;
  explicit OutputLock(const std::filesystem::path& output_dir);
  ~OutputLock();
  OutputLock(OutputLock&& other) noexcept;
  OutputLock& operator=(OutputLock&&) = delete;

 private:
  std::filesystem::path file_;
  int fd_ = -1;
};

}  // namespace graft::train
