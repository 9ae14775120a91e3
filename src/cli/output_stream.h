// Writes results to a file or, for "-", to standard output. A failed write is an Error. A closed pipe is a
// std::system_error with EPIPE, on which main exits without a message.
#pragma once
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>

namespace graft::cli {

// A file is written as PATH.partial and renamed at the end, so that an earlier file is replaced by a whole
// one only. What is no regular file (a pipe, /dev/null) is written in place.
class OutputFile {
 public:
  // Throws Error where it cannot be created.
  explicit OutputFile(std::string path);
  // Without finish(): keeps what was written so far, and says where, if `keeps`; else removes it.
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;
  std::FILE* file() { return file_; }
  const std::string& path() const { return path_; }
  void discard() { keeps_ = false; }
  void finish();

 private:
  std::string path_, partial_;  // partial_: "" = written in place
  std::FILE* file_;
  bool keeps_ = true;
};

class OutputStream {
 public:
  explicit OutputStream(const std::string& path);
  ~OutputStream();
  OutputStream(const OutputStream&) = delete;
  OutputStream& operator=(const OutputStream&) = delete;
  void write(std::string_view text);
  void flush();
  // Call it at the end: reports a full disk, and gives the file its name.
  void finish();

 private:
  [[noreturn]] void refuse() const;

  std::unique_ptr<OutputFile> file_;  // null: standard output
  std::FILE* to_;
};

// Throws UsageError if output and input are the same file.
void refuse_same_file(const std::string& input, const std::string& output);

}  // namespace graft::cli
