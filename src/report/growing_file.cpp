#include "report/growing_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/durable_file.h"
#include "base/error.h"
#include "base/folder.h"

namespace graft::report {

GrowingFile::GrowingFile(std::filesystem::path path) : path_(std::move(path)) {
  make_folders(path_.parent_path());
  fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (fd_ < 0) fail("{}: cannot be written: {}", path_.string(), std::strerror(errno));
}

GrowingFile::~GrowingFile() { ::close(fd_); }

void GrowingFile::append(std::string_view piece) {
  if (const int error = write_fully(fd_, piece.data(), piece.size()))
    fail("{}: cannot be written: {}", path_.string(), std::strerror(error));
}

}  // namespace graft::report
