// Writes a .npy file row by row (format 1.0 of numpy.lib.format): float32, C order. The number of rows is
// patched into the header at the end; until then it is 0.
#pragma once
#include <cstdint>
#include <cstdio>
#include <string>

namespace graft::cli {

class NpyWriter {
 public:
  // Throws Error if the file cannot be made, or is a pipe.
  NpyWriter(std::string path, int64_t columns);
  ~NpyWriter();
  NpyWriter(const NpyWriter&) = delete;
  NpyWriter& operator=(const NpyWriter&) = delete;
  void write(const float* values, int64_t rows);
  void finish();  // call it at the end; throws Error for a full disk

 private:
  [[noreturn]] void refuse() const;
  void write_header();

  std::string path_;
  int64_t rows_ = 0, columns_;
  std::FILE* file_;
};

}  // namespace graft::cli
