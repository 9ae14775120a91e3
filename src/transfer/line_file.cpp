#include "transfer/line_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/durable_file.h"
#include "base/error.h"
#include "base/file.h"

namespace graft::transfer {

LineFile::LineFile(std::filesystem::path path) : path_(std::move(path)) {
  fd_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd_ < 0) fail("{}: cannot create it: {}", path_.string(), std::strerror(errno));
}

LineFile::~LineFile() {
  if (fd_ >= 0) ::close(fd_);
}

void LineFile::flush() {
  if (const int error = write_fully(fd_, buffer_.data(), buffer_.size()))
    fail("{}: cannot write: {}", path_.string(), std::strerror(error));
  flushed_ += buffer_.size();
  buffer_.clear();
}

uint64_t LineFile::append(std::string_view line) {
  const uint64_t position = size();
  buffer_.append(line);
  buffer_.push_back('\n');
  constexpr size_t kBuffer = size_t{1} << 20;
  if (buffer_.size() >= kBuffer) flush();
  return position;
}

std::string LineFile::read(uint64_t position) const {
  if (position >= flushed_) {
    const size_t begin = position - flushed_;
    return buffer_.substr(begin, buffer_.find('\n', begin) - begin);
  }
  // A line does not cross the end of the flushed part.
  std::string line;
  char block[4096];
  for (;;) {
    const ssize_t n = ::pread(fd_, block, sizeof block, static_cast<off_t>(position + line.size()));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) fail("{}: cannot read: {}", path_.string(), n < 0 ? std::strerror(errno) : "it was cut");
    const void* end = std::memchr(block, '\n', static_cast<size_t>(n));
    if (end) return line.append(block, static_cast<const char*>(end) - block);
    line.append(block, static_cast<size_t>(n));
  }
}

void LineFile::finish() {
  flush();
  if (::fsync(fd_) != 0) fail("{}: cannot write: {}", path_.string(), std::strerror(errno));
}

void for_each_line(const std::filesystem::path& file, const std::function<void(std::string_view)>& see) {
  const MappedFile mapped(file);
  for (std::string_view rest = mapped.text(); !rest.empty();) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    see(line);
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
  }
}

}  // namespace graft::transfer
