#include "report/growing_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/durable_file.h"
#include "base/error.h"
#include "base/folder.h"

namespace graft::report {

GrowingFile::GrowingFile(std::filesystem::path path, uint64_t keep) : path_(std::move(path)) {
  make_folders(path_.parent_path());
  fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (fd_ < 0) fail("{}: cannot be written: {}", path_.string(), std::strerror(errno));
  struct stat found {};
  if (::fstat(fd_, &found) == 0 && static_cast<uint64_t>(found.st_size) > keep &&
      ::ftruncate(fd_, static_cast<off_t>(keep)) != 0)
    fail("{}: cannot be cut: {}", path_.string(), std::strerror(errno));
}

GrowingFile::~GrowingFile() { ::close(fd_); }

void GrowingFile::append(std::string_view piece) {
  if (const int error = write_fully(fd_, piece.data(), piece.size()))
    fail("{}: cannot be written: {}", path_.string(), std::strerror(error));
}

void GrowingFile::sync() {
  if (::fdatasync(fd_) != 0) fail("{}: cannot be written: {}", path_.string(), std::strerror(errno));
}

}  // namespace graft::report
