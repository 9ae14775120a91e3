// Files as a whole: mapping and reading. Writing: durable_file.h.
#pragma once
#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>

#include "base/durable_file.h"  // write_file

namespace graft {

// Maximum size of a line, csv record or json row: bounds the memory for a file without line ends or a zip
// bomb.
inline constexpr size_t kMaxRowBytes = size_t{64} << 20;

// A file mapped read-only. Throws Error with the path if it is absent, a folder or unreadable.
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::byte* data() const { return data_; }
  size_t size() const { return size_; }
  std::string_view text() const { return {reinterpret_cast<const char*>(data_), size_}; }
  const std::filesystem::path& path() const { return path_; }
  // Tells the kernel that [offset, offset+size) is no longer needed in memory.
  void drop(size_t offset, size_t size) const;

 private:
  std::filesystem::path path_;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

// The whole file as a string; the same errors as MappedFile.
std::string read_file(const std::filesystem::path& path);

}  // namespace graft
