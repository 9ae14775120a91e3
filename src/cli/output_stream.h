// Results to a file or, for "-", to standard output; a write that fails is an Error, a pipe whose reader has
// gone a std::system_error of EPIPE, which main ends on quietly.
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

// UsageError where the output would be written over the input that is being read.
void refuse_same_file(const std::string& input, const std::string& output);

}  // namespace graft::cli
