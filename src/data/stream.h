// Bytes and lines of a file, decompressed by extension (.gz, .zst, .xz), in constant memory.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "base/file.h"

namespace graft::data {

class ByteStream {
 public:
  virtual ~ByteStream() = default;
  // Up to `size` bytes into `out`; 0 at the end. A damaged archive throws Error naming the file.
  virtual size_t read(char* out, size_t size) = 0;
};

// "-" is standard input. A byte order mark is dropped. Throws Error when the file is absent or a folder, and
// at the first read() when the text is UTF-16 or UTF-32.
std::unique_ptr<ByteStream> open_stream(const std::filesystem::path& path);
// The same from bytes in memory, which must outlive the stream.
std::unique_ptr<ByteStream> memory_stream(std::string_view bytes);

// The path for messages: "standard input" for "-".
std::string name_of(const std::filesystem::path& path);

// Lines end at U+000A only (one U+000D before it is dropped when strip_cr).
class LineReader {
 public:
  explicit LineReader(const std::filesystem::path& path, bool strip_cr = true);
  // From an open stream; `path` is for messages.
  LineReader(std::unique_ptr<ByteStream> stream, const std::filesystem::path& path, bool strip_cr = true);
  ~LineReader();
  // False at the end. Throws Error naming file and line on invalid UTF-8 and on a line over kMaxRowBytes.
  bool next(std::string& line);
  // The same without the check of the bytes, for a caller that leaves out what is no text.
  bool next_bytes(std::string& line);
  // Whether next() would return without reading from the stream.
  bool has_buffered_line() const { return buffer_.find('\n', pos_) != std::string::npos; }
  int64_t line_number() const { return line_; }  // of the line last returned, 1-based

 private:
  bool fill();
  bool take_line(std::string& line, bool checked);
  void check(std::string_view line) const;

  std::unique_ptr<ByteStream> stream_;
  std::string name_;
  bool strip_cr_;
  std::string buffer_;
  size_t pos_ = 0;
  bool ended_ = false;
  int64_t line_ = 0;
};

}  // namespace graft::data
