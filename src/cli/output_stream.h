// Writes results to a file or, for "-", to standard output. A failed write is an Error. A closed pipe is a
// std::system_error with EPIPE, on which main exits without a message.
#pragma once
#include <cstdio>
#include <string>
#include <string_view>

namespace graft::cli {

class OutputStream {
 public:
  explicit OutputStream(const std::string& path);
  ~OutputStream();
  OutputStream(const OutputStream&) = delete;
  OutputStream& operator=(const OutputStream&) = delete;
  void write(std::string_view text);
  void flush();  // call it at the end: reports a full disk

 private:
  [[noreturn]] void refuse() const;

  std::string path_;
  std::FILE* file_;
};

// Throws UsageError if output and input are the same file.
void refuse_same_file(const std::string& input, const std::string& output);

}  // namespace graft::cli
