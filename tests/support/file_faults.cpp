// Loaded before libc (LD_PRELOAD) into the program: counts its calls that change files below FAULT_FOLDER
// and, at call FAULT_AT, kills the process before or after it (FAULT_KIND before, after), or lets this call
// and all later ones that need space fail as on a full disk (full). With the kind "free" the disk below that
// folder tells that it has FAULT_AT bytes free, and no call fails. At its end a process writes the number of
// its calls to the file FAULT_COUNT.
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

std::atomic<long> calls{0};

const char* variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

bool is_below(const char* path) {
  const std::string folder = variable("FAULT_FOLDER");
  return !folder.empty() && path && std::strncmp(path, folder.c_str(), folder.size()) == 0;
}

bool is_below(int fd) {
  char link[64], path[4096];
  std::snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t n = ::readlink(link, path, sizeof path - 1);
  if (n <= 0) return false;
  path[n] = '\0';
  return is_below(path);
}

bool is_below(int folder, const char* path) {
  return path && path[0] == '/' ? is_below(path) : is_below(folder);
}

// The call between a death before it and one after it.
template <class F>
auto with_fault(bool counts, bool needs_space, F call) -> decltype(call()) {
  if (!counts) return call();
  static const long at = std::atol(variable("FAULT_AT"));
  static const std::string kind = variable("FAULT_KIND");
  const long n = ++calls;
  if (kind == "full" && n >= at && needs_space) {
    errno = ENOSPC;
    return -1;
  }
  if (kind == "before" && n == at) ::raise(SIGKILL);
  const auto result = call();
  if (kind == "after" && n == at) ::raise(SIGKILL);
  return result;
}

template <class F>
F next(const char* name) {
  return reinterpret_cast<F>(::dlsym(RTLD_NEXT, name));
}

struct WritesTheCount {
  ~WritesTheCount() {
    if (std::FILE* file = std::fopen(variable("FAULT_COUNT"), "w")) {
      std::fprintf(file, "%ld\n", calls.load());
      std::fclose(file);
    }
  }
} writes_the_count;

}  // namespace

extern "C" {

ssize_t write(int fd, const void* data, size_t size) {
  static const auto real = next<ssize_t (*)(int, const void*, size_t)>("write");
  return with_fault(is_below(fd), true, [&] { return real(fd, data, size); });
}

int fsync(int fd) {
  static const auto real = next<int (*)(int)>("fsync");
  return with_fault(is_below(fd), true, [&] { return real(fd); });
}

int fallocate(int fd, int mode, off_t offset, off_t length) {
  static const auto real = next<int (*)(int, int, off_t, off_t)>("fallocate");
  return with_fault(is_below(fd), true, [&] { return real(fd, mode, offset, length); });
}

int open(const char* path, int flags, ...) {
  static const auto real = next<int (*)(const char*, int, ...)>("open");
  va_list arguments;
  va_start(arguments, flags);
  const unsigned mode = flags & O_CREAT ? va_arg(arguments, unsigned) : 0;
  va_end(arguments);
  return with_fault((flags & O_CREAT) != 0 && is_below(path), true, [&] { return real(path, flags, mode); });
}

int rename(const char* from, const char* to) noexcept {
  static const auto real = next<int (*)(const char*, const char*)>("rename");
  return with_fault(is_below(to), false, [&] { return real(from, to); });
}

int renameat2(int from_folder, const char* from, int to_folder, const char* to, unsigned flags) noexcept {
  static const auto real = next<int (*)(int, const char*, int, const char*, unsigned)>("renameat2");
  return with_fault(is_below(to_folder, to), false,
                    [&] { return real(from_folder, from, to_folder, to, flags); });
}

int mkdir(const char* path, mode_t mode) noexcept {
  static const auto real = next<int (*)(const char*, mode_t)>("mkdir");
  return with_fault(is_below(path), true, [&] { return real(path, mode); });
}

int unlinkat(int folder, const char* path, int flags) noexcept {
  static const auto real = next<int (*)(int, const char*, int)>("unlinkat");
  return with_fault(is_below(folder, path), false, [&] { return real(folder, path, flags); });
}

int remove(const char* path) noexcept {
  static const auto real = next<int (*)(const char*)>("remove");
  return with_fault(is_below(path), false, [&] { return real(path); });
}

int statvfs(const char* path, struct statvfs* info) noexcept {
  static const auto real = next<int (*)(const char*, struct statvfs*)>("statvfs");
  const int result = real(path, info);
  if (result == 0 && is_below(path) && std::strcmp(variable("FAULT_KIND"), "free") == 0) {
    info->f_frsize = 1;
    info->f_bavail = static_cast<fsblkcnt_t>(std::atol(variable("FAULT_AT")));
  }
  return result;
}

}  // extern "C"
