// Bytes and lines of a file, decompressed by extension (.gz, .zst, .xz), in constant memory.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

namespace graft::data {

class ByteStream {
 public:
  virtual ~ByteStream() = default;
  // Up to `size` bytes into `out`; 0 at the end. A damaged archive throws Error naming the file.
  virtual size_t read(char* out, size_t size) = 0;
};

// "-" is standard input. Throws Error when the file is absent or a folder.
std::unique_ptr<ByteStream> open_stream(const std::filesystem::path& path);

// Lines end at U+000A only (one U+000D before it is dropped when strip_cr); a byte order mark at the start is dropped.
class LineReader {
 public:
  explicit LineReader(const std::filesystem::path& path, bool strip_cr = true);
  ~LineReader();
  // False at the end. Throws Error naming file and line on invalid UTF-8.
  bool next(std::string& line);
  int64_t line_number() const { return line_; }  // of the line last returned, 1-based

 private:
  std::unique_ptr<ByteStream> stream_;
  std::filesystem::path path_;
  bool strip_cr_;
  std::string buffer_;
  size_t pos_ = 0;
  bool ended_ = false;
  int64_t line_ = 0;
};

}  // namespace graft::data
