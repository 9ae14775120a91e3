// Files as a whole: mapping, reading, durable writing.
#pragma once
#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>

namespace graft {

// A file mapped read-only. Throws Error naming the path when it is absent, a folder or unreadable.
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
  // Tells the kernel that [offset, offset+size) was read and need not stay resident.
  void drop(size_t offset, size_t size) const;

 private:
  std::filesystem::path path_;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

// The whole file as a string; the same errors as MappedFile.
std::string read_file(const std::filesystem::path& path);

// Writes to `path` + ".tmp", syncs, renames: a reader sees the old or the new file, never a half one.
// A full disk or a missing right throws Error and leaves the old file as it was.
void write_file(const std::filesystem::path& path, std::string_view content);

// Appends to an open descriptor until all bytes are out; throws Error with `path` in the text.
void write_all(int fd, const void* data, size_t size, const std::filesystem::path& path);

}  // namespace graft
