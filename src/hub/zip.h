// Reading zip archives in memory (APPNOTE.TXT of PKWARE): stored and deflated entries, zip64.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

namespace graft::hub {

struct ZipEntry {
  std::string name;
  uint16_t method = 0;  // 0 stored, 8 deflated
  uint32_t crc32 = 0;
  uint64_t packed_size = 0, size = 0;
  std::span<const std::byte> packed;  // its bytes in the archive
};

// The bytes of an entry; `owner` is empty if they are in the archive itself.
struct ZipBytes {
  std::span<const std::byte> bytes;
  std::shared_ptr<const void> owner;
};

class ZipReader {
 public:
  static bool is_zip(std::span<const std::byte> bytes);

  // Reads and checks the directory: every entry inside the archive, none overlapping another, no name twice.
  // `bytes` must outlive the reader and its results.
  ZipReader(std::span<const std::byte> bytes, std::string origin);

  const std::vector<ZipEntry>& entries() const { return entries_; }
  const ZipEntry* find(const std::string& name) const;  // nullptr if absent
  // Throws if the entry is a zip bomb or does not inflate to its declared size. Checksums: see check().
  ZipBytes read(const ZipEntry& entry);
  // Throws naming the first of `entries` whose bytes do not have its CRC-32. Runs on all cores.
  void check(const std::vector<std::pair<const ZipEntry*, std::span<const std::byte>>>& entries) const;

 private:
  struct Directory {
    uint64_t offset = 0, size = 0, count = 0;
  };
  Directory find_directory() const;
  Directory find_directory64(size_t end_record) const;
  size_t read_entry(size_t at, size_t end);
  void locate(ZipEntry& entry, uint64_t header) const;
  void check_overlaps() const;
  template <class T>
  T number(size_t at) const;
  [[noreturn]] void damaged(const std::string& what) const;

  std::span<const std::byte> bytes_;
  std::string origin_;
  std::vector<ZipEntry> entries_;
  std::unordered_map<std::string, size_t> index_;
  uint64_t inflate_budget_;
};

}  // namespace graft::hub
