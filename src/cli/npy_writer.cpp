#include "cli/npy_writer.h"

#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace graft::cli {

NpyWriter::NpyWriter(const std::string& path, int64_t columns)
    : output_(path), file_(output_.file()), columns_(columns) {
  output_.discard();  // its header counts no rows yet
  if (std::fseek(file_, 0, SEEK_SET) != 0)
    fail_with("write a .jsonl, which streams", "{}: a .npy cannot be written into a pipe", path);
  write_header();
}

void NpyWriter::refuse() const { fail("{}: cannot write: {}", output_.path(), std::strerror(errno)); }

// 128 bytes with any number of rows, so that it can be written again.
void NpyWriter::write_header() {
  constexpr size_t kSize = 128, kStart = 10;
  std::string header =
      fmt::format("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {}), }}", rows_, columns_);
  header.resize(kSize - kStart - 1, ' ');
  header += '\n';
  std::string start = "\x93NUMPY";
  start += {'\1', '\0', static_cast<char>(header.size()), '\0'};
  if (std::fwrite(start.data(), 1, start.size(), file_) != start.size() ||
      std::fwrite(header.data(), 1, header.size(), file_) != header.size())
    refuse();
}

void NpyWriter::write(const float* values, int64_t rows) {
  const auto n = static_cast<size_t>(rows * columns_);
  if (std::fwrite(values, sizeof(float), n, file_) != n) refuse();
  rows_ += rows;
}

void NpyWriter::finish() {
  if (std::fseek(file_, 0, SEEK_SET) != 0) refuse();
  write_header();
  if (std::fflush(file_) != 0) refuse();
  output_.finish();
}

}  // namespace graft::cli
