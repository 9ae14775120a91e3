// Results to a file or, for "-", to standard output; a write that fails is an Error.
#pragma once
#include <cstdio>
#include <string>

namespace graft::cli {

class OutputStream {
 public:
  explicit OutputStream(const std::string& path);
  ~OutputStream();
  OutputStream(const OutputStream&) = delete;
  OutputStream& operator=(const OutputStream&) = delete;
  void write(const std::string& text);
  void flush();  // and, at the end, close: reports a full disk

 private:
  std::string path_;
  std::FILE* file_;
};

}  // namespace graft::cli
