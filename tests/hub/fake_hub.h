// A model hub on 127.0.0.1 that answers as huggingface.co does, with a separate "CDN" origin for large files,
// and that misbehaves on demand. httplib stays in its .cpp.
#pragma once
#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace graft::hub {

class FakeHub {
 public:
  struct File {
    std::string content;
    bool lfs = false;  // served by the CDN, its ETag the sha256
  };
  struct Request {
    std::string method, path, token, range;
    bool cdn = false;
  };

  FakeHub();
  ~FakeHub();
  std::string endpoint() const;

  std::string name = "org/model";
  std::string commit = "0123456789abcdef0123456789abcdef01234567";
  std::map<std::string, File> files;
  std::map<std::string, std::string> renamed;  // former name -> name: redirected
  std::string required_token;                  // 401 without it

  // Misbehaviour. Counts are used up by the requests that they hit.
  std::atomic<int> failures{0};  // requests to the hub that get `failure_status`
  int failure_status = 500;
  std::string failure_code;  // X-Error-Code
  std::string retry_after;
  std::atomic<int> cuts{0};  // CDN transfers that end after `cut_after` bytes
  size_t cut_after = 0;
  std::atomic<int> corrupted{0};  // CDN transfers with a flipped bit
  bool ignore_ranges = false;     // the CDN sends the whole file whatever is asked
  bool redirect_loop = false;
  std::string api_answer;  // instead of the list of files
  std::string etag_override, location_override;
  std::atomic<int> delay_ms{0};  // before each CDN transfer

  std::vector<Request> requests() const;
  int count(const std::string& method, const std::string& path_end) const;
  uint64_t cdn_bytes() const { return cdn_bytes_; }

 private:
  struct Servers;
  void serve_hub();
  void serve_cdn();

  std::unique_ptr<Servers> servers_;
  mutable std::mutex mutex_;
  std::vector<Request> requests_;
  std::atomic<uint64_t> cdn_bytes_{0};
};

}  // namespace graft::hub
