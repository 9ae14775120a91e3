// Writes a .npy file row by row (format 1.0 of numpy.lib.format): float32, C order. The number of rows is
// patched into the header at the end; until then the file has another name (OutputFile).
#pragma once
#include <cstdint>
#include <cstdio>
#include <string>

#include "cli/output_stream.h"

namespace graft::cli {

class NpyWriter {
 public:
  // Throws Error if the file cannot be made, or is a pipe.
  NpyWriter(const std::string& path, int64_t columns);
  void write(const float* values, int64_t rows);
  void finish();  // call it at the end; throws Error for a full disk

 private:
  [[noreturn]] void refuse() const;
  void write_header();

  OutputFile output_;
  std::FILE* file_;  // of output_
  int64_t rows_ = 0, columns_;
};

}  // namespace graft::cli
