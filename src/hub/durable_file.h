// A file that appears whole or not at all: written beside its place, synced, then renamed into it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>

namespace graft::hub {

class DurableFile {
 public:
  // Creates path + ".tmp" and reserves `size` bytes where the file system can, so that a full disk is known
  // at once.
  DurableFile(std::filesystem::path path, uint64_t size);
  ~DurableFile();  // without commit(): the temporary goes, the former file stays
  DurableFile(DurableFile&& other) noexcept;
  DurableFile& operator=(DurableFile&&) = delete;

  void write(const void* data, size_t size);
  void close();   // all bytes are on the disk when it returns; still under the temporary name
  void commit();  // close, then rename into place; the folder is synced too
  const std::filesystem::path& path() const { return path_; }

 private:
  [[noreturn]] void refuse(const char* what, int error) const;

  std::filesystem::path path_, temporary_;
  uint64_t size_ = 0;
  int fd_ = -1;
  bool pending_ = false;
};

// Makes renames and removals in `folder` durable.
void sync_folder(const std::filesystem::path& folder);

}  // namespace graft::hub
