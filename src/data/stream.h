// Bytes and lines of a file, decompressed by extension (.gz, .zst, .xz), in constant memory.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

namespace graft::data {

// No line, csv record or json row may be longer (a zip bomb must not eat the memory).
inline constexpr size_t kMaxRowBytes = size_t{64} << 20;

class ByteStream {
 public:
  virtual ~ByteStream() = default;
  // Up to `size` bytes into `out`; 0 at the end. A damaged archive throws Error naming the file.
  virtual size_t read(char* out, size_t size) = 0;
};

// "-" is standard input. Throws Error when the file is absent or a folder.
std::unique_ptr<ByteStream> open_stream(const std::filesystem::path& path);
// Bytes in memory, which must outlive the stream.
std::unique_ptr<ByteStream> memory_stream(std::string_view bytes);

// Lines end at U+000A only (one U+000D before it is dropped when strip_cr); a byte order mark at the start is
// dropped.
class LineReader {
 public:
  explicit LineReader(const std::filesystem::path& path, bool strip_cr = true);
  // From an open stream; `path` is for messages.
  LineReader(std::unique_ptr<ByteStream> stream, std::filesystem::path path, bool strip_cr = true);
  ~LineReader();
  // False at the end. Throws Error naming file and line on invalid UTF-8 and on a line over kMaxRowBytes.
  bool next(std::string& line);
  // Whether next() would answer without reading: whoever serves a pipe answers before it waits.
  bool has_buffered_line() const { return buffer_.find('\n', pos_) != std::string::npos; }
  int64_t line_number() const { return line_; }  // of the line last returned, 1-based

 private:
  bool fill();
  void check(std::string_view line) const;

  std::unique_ptr<ByteStream> stream_;
  std::filesystem::path path_;
  bool strip_cr_;
  std::string buffer_;
  size_t pos_ = 0;
  bool ended_ = false;
  int64_t line_ = 0;
};

}  // namespace graft::data
