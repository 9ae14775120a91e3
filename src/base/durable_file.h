// Writes a file atomically: under a temporary name, synced, then renamed.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string_view>

namespace graft {

class DurableFile {
 public:
  // Creates path + ".tmp" and reserves `size` bytes where the file system can, so that a full disk is
  // reported before the first byte is written. Throws Error naming the path, here and below.
  DurableFile(std::filesystem::path path, uint64_t size);
  ~DurableFile();  // without commit(): removes the temporary file, keeps the old one
  DurableFile(DurableFile&& other) noexcept;
  DurableFile& operator=(DurableFile&&) = delete;

  void write(const void* data, size_t size);
  void close();   // syncs all bytes to the disk, under the temporary name
  void commit();  // close, then rename into place; the folder is synced too
  const std::filesystem::path& path() const { return path_; }

 private:
  [[noreturn]] void refuse(const char* what, int error) const;

  std::filesystem::path path_, temporary_;
  uint64_t size_ = 0;
  int fd_ = -1;
  bool pending_ = false;
};

// Writes a DurableFile in one call.
void write_file(const std::filesystem::path& path, std::string_view content);

// Writes all bytes to an open descriptor. Returns 0 or an errno.
int write_fully(int fd, const void* data, size_t size);

// Makes renames and removals in `folder` durable.
void sync_folder(const std::filesystem::path& folder);

}  // namespace graft
