// A server that answers anything: a download ends in a snapshot or in an Error. The input is cut at 0xFF
// bytes; each connection gets the next piece, the last one again when all are used. A proxy setting keeps
// every redirect on this machine.
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "graft/error.h"
#include "hub/resolve.h"

namespace {
namespace fs = std::filesystem;

class Server {
 public:
  Server() {
    socket_ = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (::bind(socket_, reinterpret_cast<sockaddr*>(&address), size) || ::listen(socket_, 64) ||
        ::getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &size))
      std::abort();
    endpoint_ = "http://127.0.0.1:" + std::to_string(ntohs(address.sin_port));
    std::thread([this] { serve(); }).detach();
  }
  const std::string& endpoint() const { return endpoint_; }
  void answers(std::string_view all) {
    const std::lock_guard lock(mutex_);
    pieces_.clear();
    next_ = 0;
    for (size_t begin = 0; begin <= all.size();) {
      const size_t end = std::min(all.find('\xFF', begin), all.size());
      pieces_.emplace_back(all.substr(begin, end - begin));
      begin = end + 1;
    }
  }

 private:
  std::string next() {
    const std::lock_guard lock(mutex_);
    return pieces_.empty() ? "" : pieces_[next_ + 1 < pieces_.size() ? next_++ : next_];
  }
  void serve() {
    for (;;) {
      const int connection = ::accept(socket_, nullptr, nullptr);
      if (connection < 0) continue;
      char request[4096];
      if (::recv(connection, request, sizeof request, 0) > 0) {
        const std::string answer = next();
        for (size_t sent = 0; sent < answer.size();) {
          const ssize_t n = ::send(connection, answer.data() + sent, answer.size() - sent, MSG_NOSIGNAL);
          if (n <= 0) break;
          sent += static_cast<size_t>(n);
        }
      }
      ::close(connection);
    }
  }

  int socket_ = -1;
  std::string endpoint_;
  std::mutex mutex_;
  std::vector<std::string> pieces_;
  size_t next_ = 0;
};

Server& server() {
  static Server& one = *new Server;
  return one;
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  for (const char* name : {"http_proxy", "https_proxy", "all_proxy"})
    ::setenv(name, server().endpoint().c_str(), 1);
  ::setenv("no_proxy", "", 1);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  server().answers({reinterpret_cast<const char*>(data), size});
  const fs::path cache = fs::temp_directory_path() / ("graft-fuzz-http-" + std::to_string(::getpid()));
  graft::hub::ResolveOptions options;
  options.cache_dir = cache;
  options.endpoint = server().endpoint();
  options.offline = false;
  options.max_workers = 1;
  options.max_retries = 0;
  try {
    graft::hub::pull_model("acme/tiny", options);
  } catch (const graft::Error&) {
  }
  std::error_code ignored;
  fs::remove_all(cache, ignored);
  return 0;
}
