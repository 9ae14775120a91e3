#include "hub/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

#include "base/error.h"
#include "base/folder.h"
#include "base/log.h"

namespace graft::hub {

FileLock::FileLock(const std::filesystem::path& path, const std::atomic<bool>& stop) {
  make_folders(path.parent_path());
  fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd_ < 0) fail("{}: cannot create: {}", path.string(), std::strerror(errno));
  bool told = false;
  while (::flock(fd_, LOCK_EX | LOCK_NB) != 0) {
    const int error = errno;
    if (error == ENOSYS || error == EOPNOTSUPP || error == ENOLCK)
      return;  // a file system without locks: continue without one
    if ((error != EWOULDBLOCK && error != EINTR) || stop.load()) {
      ::close(fd_);
      fail("{}: cannot lock: {}", path.string(), std::strerror(error));
    }
    if (!told) log_info("waiting for another process that downloads this model ({})", path.string());
    told = true;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
}

FileLock::~FileLock() { ::close(fd_); }

}  // namespace graft::hub
