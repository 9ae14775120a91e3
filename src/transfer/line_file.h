// A file of lines that is written at its end and read anywhere meanwhile.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

namespace graft::transfer {

class LineFile {
 public:
  // Replaces the file. Throws Error naming the path, here and below.
  explicit LineFile(std::filesystem::path path);
  ~LineFile();
  LineFile(const LineFile&) = delete;
  LineFile& operator=(const LineFile&) = delete;

  // Appends `line`, which has no line end, and one line end. Returns the position for read().
  uint64_t append(std::string_view line);
  // The line at a position.
  std::string read(uint64_t position) const;
  uint64_t size() const { return flushed_ + buffer_.size(); }  // bytes
  void finish();                                               // writes all to the disk

 private:
  void flush();
  std::filesystem::path path_;
  int fd_ = -1;
  uint64_t flushed_ = 0;
  std::string buffer_;
};

// Calls see(line) for each line of a file that LineFile wrote, without its line end.
void for_each_line(const std::filesystem::path& file, const std::function<void(std::string_view)>& see);

}  // namespace graft::transfer
