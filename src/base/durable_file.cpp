#include "base/durable_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"

namespace graft {
namespace fs = std::filesystem;

DurableFile::DurableFile(fs::path path, uint64_t size)
    : path_(std::move(path)), temporary_(path_.string() + ".tmp"), size_(size) {
  fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd_ < 0) refuse("cannot create it", errno);
  pending_ = true;
  // If the file system cannot reserve space, a write reports the full disk.
  if (size > 0 && ::fallocate(fd_, FALLOC_FL_KEEP_SIZE, 0, static_cast<off_t>(size)) != 0 &&
      errno == ENOSPC) {
    ::close(fd_);
    ::unlink(temporary_.c_str());
    pending_ = false;
    refuse("cannot write it", ENOSPC);
  }
}

DurableFile::~DurableFile() {
  if (fd_ >= 0) ::close(fd_);
  if (pending_) ::unlink(temporary_.c_str());
}

DurableFile::DurableFile(DurableFile&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_(std::move(other.temporary_)),
      size_(other.size_),
      fd_(std::exchange(other.fd_, -1)),
      pending_(std::exchange(other.pending_, false)) {}

void DurableFile::refuse(const char* what, int error) const {
  std::string hint;
  if (error == ENOSPC || error == EDQUOT) {
    std::error_code ignored;
    const fs::space_info space = fs::space(path_.parent_path().empty() ? "." : path_.parent_path(), ignored);
    const bool replaces = fs::exists(path_, ignored);
    hint = fmt::format("{}the disk has {} bytes free: free some space, or choose another folder{}",
                       size_ > 0 ? fmt::format("the file needs {} bytes and ", size_) : "",
                       space.available == static_cast<std::uintmax_t>(-1) ? 0 : space.available,
                       replaces ? "; the old file is unchanged" : "");
  } else if (error == EACCES || error == EPERM || error == EROFS) {
    hint = "choose a folder that you may write to";
  }
  fail_with(hint, "{}: {}: {}", path_.string(), what, std::strerror(error));
}

void DurableFile::write(const void* data, size_t size) {
  if (const int error = write_fully(fd_, data, size)) refuse("cannot write it", error);
}

void DurableFile::close() {
  if (fd_ < 0) return;
  const bool synced = ::fsync(fd_) == 0;
  const int error = errno;
  const bool closed = ::close(std::exchange(fd_, -1)) == 0;
  if (!synced) refuse("cannot sync it", error);
  if (!closed) refuse("cannot close it", errno);
}

void DurableFile::commit() {
  close();
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) refuse("cannot rename it into place", errno);
  pending_ = false;
  sync_folder(path_.parent_path());
}

int write_fully(int fd, const void* data, size_t size) {
  const char* p = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t n = ::write(fd, p, size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    p += n;
    size -= static_cast<size_t>(n);
  }
  return 0;
}

void write_file(const fs::path& path, std::string_view content) {
  DurableFile file(path, content.size());
  file.write(content.data(), content.size());
  file.commit();
}

void sync_folder(const fs::path& folder) {
  const int fd = ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;  // the rename is done; some file systems cannot open folders
  const int error = ::fsync(fd) == 0 ? 0 : errno;
  ::close(fd);
  // other errors: the file system cannot sync folders
  if (error == EIO || error == ENOSPC || error == EDQUOT)
    fail("{}: cannot sync the folder: {}", folder.string(), std::strerror(error));
}

}  // namespace graft
