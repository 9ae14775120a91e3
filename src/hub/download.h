// Downloads into the cache: looks up files on the hub and fetches their blobs, with resume and checks.
#pragma once
#include <atomic>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "hub/cache.h"
#include "hub/http.h"
#include "hub/resolve.h"

namespace graft::hub {

// The hub's description of a model at a revision.
struct ModelInfo {
  std::string commit;
  std::vector<std::string> files;
};

// The hub's description of a file, without its content.
struct RemoteFile {
  std::string name, url;
  std::string etag;  // names the blob; 64 hex digits are the content's sha256
  uint64_t size = 0;
  bool has_size = false;
};

class HubClient {
 public:
  // `absent_hint` is the hint of the error for a model that is not on the hub.
  HubClient(const ModelId& id, const HubSettings& settings, const ResolveOptions& options,
            std::string absent_hint);

  ModelInfo look_up_model();
  // Downloads `files` of `commit` into the cache, several at a time, and links them into the snapshot.
  // Existing files are not downloaded again. The first error ends all downloads.
  void fetch(const std::string& commit, const std::vector<std::string>& files);

 private:
  RemoteFile look_up_file(const std::string& commit, const std::string& name);
  void fetch_blob(const RemoteFile& file);
  void fetch_locked(const RemoteFile& file, const std::filesystem::path& incomplete);
  HttpResponse request(const HttpRequest& request);
  bool wait_to_retry(const HttpResponse& response, int attempt);
  void report(const RemoteFile& file, uint64_t done);
  [[noreturn]] void refuse(const HttpResponse& response, const std::string& what) const;

  const ModelId& id_;
  const HubSettings& settings_;
  const ResolveOptions& options_;
  std::string absent_hint_;
  ModelCache cache_;
  std::atomic<bool> stop_{false};
  std::mutex progress_mutex_;
  struct Part {
    uint64_t done = 0, size = 0;
  };
  std::map<std::string, Part> parts_;
};

}  // namespace graft::hub
