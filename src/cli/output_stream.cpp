#include "cli/output_stream.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/log.h"

namespace graft::cli {

namespace fs = std::filesystem;

OutputFile::OutputFile(std::string path) : path_(std::move(path)) {
  std::error_code ignored;
  const fs::file_type type = fs::status(path_, ignored).type();
  if (type == fs::file_type::directory) fail("{}: cannot create: {}", path_, std::strerror(EISDIR));
  if (type == fs::file_type::not_found || type == fs::file_type::regular) partial_ = path_ + ".partial";
  file_ = std::fopen((partial_.empty() ? path_ : partial_).c_str(), "wb");
  if (!file_) fail("{}: cannot create: {}", path_, std::strerror(errno));
}

OutputFile::~OutputFile() {
  if (!file_) return;
  const bool some = std::ftell(file_) > 0;
  std::fclose(file_);
  if (partial_.empty()) return;
  std::error_code ignored;
  if (some && keeps_)
    log_info("{}: not finished; what was written so far is in {}", path_, partial_);
  else
    fs::remove(partial_, ignored);
}

void OutputFile::finish() {
  const bool closed = std::fclose(std::exchange(file_, nullptr)) == 0;
  if (!closed) fail("{}: cannot write: {}", path_, std::strerror(errno));
  std::error_code error;
  if (!partial_.empty()) fs::rename(partial_, path_, error);
  if (error) fail("{}: cannot be renamed from {}: {}", path_, partial_, error.message());
}

OutputStream::OutputStream(const std::string& path)
    : file_(path == "-" ? nullptr : std::make_unique<OutputFile>(path)),
      to_(file_ ? file_->file() : stdout) {}

OutputStream::~OutputStream() = default;

void OutputStream::refuse() const {
  if (errno == EPIPE) throw std::system_error(errno, std::generic_category());
  fail("{}: cannot write: {}", file_ ? file_->path() : "standard output", std::strerror(errno));
}

void OutputStream::write(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), to_) != text.size()) refuse();
}

void OutputStream::flush() {
  if (std::fflush(to_) != 0) refuse();
}

void OutputStream::finish() {
  flush();
  if (file_) file_->finish();
}

void refuse_same_file(const std::string& input, const std::string& output) {
  std::error_code error;
  if (input == "-" || output == "-" || !std::filesystem::equivalent(input, output, error)) return;
  if (!std::filesystem::is_regular_file(output, error)) return;
  throw UsageError(fmt::format("--output {} is the file that is read: it would be lost", output),
                   "choose another --output");
}

}  // namespace graft::cli
