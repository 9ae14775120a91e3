#include "train/output_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/durable_file.h"
#include "base/error.h"

namespace graft::train {
namespace fs = std::filesystem;

namespace {

// What the holder wrote into the file; "" in the instant before it has.
std::string holder_of(int fd) {
  std::array<char, 32> text{};
  const ssize_t n = ::pread(fd, text.data(), text.size() - 1, 0);
  std::string id(text.data(), n > 0 ? static_cast<size_t>(n) : 0);
  while (!id.empty() && id.back() == '\n') id.pop_back();
  return id;
}

// A former holder removes the file: the descriptor may be one of a file that is gone.
bool is_file_at(int fd, const fs::path& file) {
  struct stat mine {
  }, there{};
  return ::fstat(fd, &mine) == 0 && ::stat(file.c_str(), &there) == 0 && mine.st_ino == there.st_ino &&
         mine.st_dev == there.st_dev;
}

}  // namespace

OutputLock::OutputLock(const fs::path& output_dir) : file_(output_dir / "LOCK") {
  for (;;) {
    fd_ = ::open(file_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd_ < 0) fail("{}: cannot create it: {}", file_.string(), std::strerror(errno));
    if (::flock(fd_, LOCK_EX | LOCK_NB) == 0) {
      if (is_file_at(fd_, file_)) break;
      ::close(std::exchange(fd_, -1));
      continue;
    }
    const int error = errno;
    const std::string holder = holder_of(fd_);
    ::close(std::exchange(fd_, -1));
    if (error == EINTR) continue;
    if (error == ENOSYS || error == EOPNOTSUPP || error == ENOLCK) return;
    if (error != EWOULDBLOCK) fail("{}: cannot lock it: {}", file_.string(), std::strerror(error));
    fail_with("wait for its end, or choose another --output_dir",
              "{}: the process {} writes into this folder (LOCK)", output_dir.string(),
              holder.empty() ? "that just started" : holder);
  }
  const std::string id = std::to_string(::getpid()) + "\n";
  if (::ftruncate(fd_, 0) == 0) write_fully(fd_, id.data(), id.size());  // for the message alone
}

OutputLock::~OutputLock() {
  if (fd_ < 0) return;
  if (is_file_at(fd_, file_)) ::unlink(file_.c_str());
  ::close(fd_);
}

OutputLock::OutputLock(OutputLock&& other) noexcept
    : file_(std::move(other.file_)), fd_(std::exchange(other.fd_, -1)) {}

}  // namespace graft::train
