// A file that grows during a run: each piece is whole on the disk's side of the system call that wrote it.
#pragma once
#include <cstdint>
#include <filesystem>
#include <limits>
#include <string_view>

namespace graft::report {

class GrowingFile {
 public:
  // Creates the file with its folders, or appends to it, after its first `keep` bytes. Throws Error naming
  // the path, here and below.
  explicit GrowingFile(std::filesystem::path path, uint64_t keep = std::numeric_limits<uint64_t>::max());
  ~GrowingFile();
  GrowingFile(const GrowingFile&) = delete;
  GrowingFile& operator=(const GrowingFile&) = delete;

  void append(std::string_view piece);
  void sync();  // what was appended is on the disk afterwards
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  int fd_ = -1;
};

}  // namespace graft::report
