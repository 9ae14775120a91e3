#include "cli/output_stream.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "base/error.h"

namespace graft::cli {

OutputStream::OutputStream(const std::string& path) : path_(path == "-" ? "standard output" : path) {
  file_ = path == "-" ? stdout : std::fopen(path.c_str(), "wb");
  if (!file_) fail("{}: cannot create: {}", path_, std::strerror(errno));
}

OutputStream::~OutputStream() {
  if (file_ != stdout) std::fclose(file_);
}

void OutputStream::refuse() const {
  if (errno == EPIPE) throw std::system_error(errno, std::generic_category());
  fail("{}: cannot write: {}", path_, std::strerror(errno));
}

void OutputStream::write(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), file_) != text.size()) refuse();
}

void OutputStream::flush() {
  if (std::fflush(file_) != 0) refuse();
}

void refuse_same_file(const std::string& input, const std::string& output) {
  std::error_code error;
  if (input == "-" || output == "-" || !std::filesystem::equivalent(input, output, error)) return;
  if (!std::filesystem::is_regular_file(output, error)) return;
  throw UsageError(fmt::format("--output {} is the file that is read: it would be lost", output),
                   "choose another --output");
}

}  // namespace graft::cli
