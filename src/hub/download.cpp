#include "hub/download.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <exception>
#include <system_error>
#include <thread>

#include "base/durable_file.h"
#include "base/error.h"
#include "base/folder.h"
#include "base/json.h"
#include "base/log.h"
#include "hub/file_lock.h"
#include "hub/printable.h"
#include "hub/sha256.h"

namespace graft::hub {
namespace fs = std::filesystem;

namespace {

constexpr double kLongestWait = 300, kLongestBackoff = 60;  // seconds

std::string escaped(const std::string& text, bool keep_slashes) {
  std::string out;
  for (const char c : text) {
    const auto u = static_cast<unsigned char>(c);
    if (std::isalnum(u) || std::strchr("-_.~", c) || (keep_slashes && c == '/')) {
      out += c;
    } else {
      out += fmt::format("%{:02X}", u);
    }
  }
  return out;
}

bool is_transient(const HttpResponse& response) {
  if (response.refused) return false;
  for (const long status : {408, 429, 500, 502, 503, 504})
    if (response.status == status) return true;
  return !response.error.empty();
}

// The wait in seconds of a Retry-After header, which is a number or a date; negative if there is none.
double retry_after(const HttpResponse& response) {
  const std::string text = response.header("retry-after");
  if (text.empty()) return -1;
  if (std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isdigit(c); }) &&
      text.size() < 10)
    return std::stod(text);
  const time_t date = curl_getdate(text.c_str(), nullptr);
  return date < 0 ? -1 : std::max(0.0, std::difftime(date, std::time(nullptr)));
}

std::string etag_of(const HttpResponse& response) {
  std::string etag = response.header("x-linked-etag");
  if (etag.empty()) etag = response.header("etag");
  if (etag.starts_with("W/")) etag.erase(0, 2);
  if (etag.size() >= 2 && etag.front() == '"' && etag.back() == '"') etag = etag.substr(1, etag.size() - 2);
  return etag;
}

bool is_sha256(const std::string& etag) {
  return etag.size() == 64 && std::all_of(etag.begin(), etag.end(),
                                          [](char c) { return std::strchr("0123456789abcdef", c) && c; });
}

// Calls f(i) for i in [0, n) on at most `workers` threads. The first exception sets `stop`, which ends the
// others, and is rethrown.
template <class F>
void for_each_parallel(size_t n, int workers, std::atomic<bool>& stop, F f) {
  std::atomic<size_t> next{0};
  std::exception_ptr first;
  std::mutex mutex;
  const auto work = [&] {
    for (size_t i; !stop && (i = next++) < n;) {
      try {
        f(i);
      } catch (...) {
        const std::lock_guard lock(mutex);
        if (!first) first = std::current_exception();
        stop = true;
      }
    }
  };
  std::vector<std::thread> threads;
  const size_t wanted = std::min(n, static_cast<size_t>(std::max(workers, 1)));
  threads.reserve(wanted);
  try {
    while (threads.size() + 1 < wanted) threads.emplace_back(work);
  } catch (const std::system_error&) {
    // No more threads (a limit of the system): the existing ones do the work.
  }
  work();
  for (std::thread& t : threads) t.join();
  if (first) std::rethrow_exception(first);
}

// A download in progress. It appends to its file, and truncates it if the server sends the whole file again.
class PartialFile {
 public:
  explicit PartialFile(const fs::path& path) : path_(path) {
    fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd_ < 0) refuse("cannot create");
    at_ = static_cast<uint64_t>(::lseek(fd_, 0, SEEK_END));
  }
  ~PartialFile() { ::close(fd_); }
  PartialFile(const PartialFile&) = delete;
  PartialFile& operator=(const PartialFile&) = delete;

  uint64_t size() const { return at_; }
  void clear() {
    if (::ftruncate(fd_, 0) != 0) refuse("cannot truncate");
    ::lseek(fd_, 0, SEEK_SET);
    at_ = 0;
  }
  void append(std::string_view piece) {
    errno = write_fully(fd_, piece.data(), piece.size());
    if (errno != 0) refuse("cannot write");
    at_ += piece.size();
  }
  void sync() {
    if (::fsync(fd_) != 0) refuse("cannot sync");
  }

 private:
  [[noreturn]] void refuse(const char* what) const {
    fail_with(errno == ENOSPC
                  ? "free some space there, or set HF_HUB_CACHE to a folder on another disk; the part "
                    "already downloaded is kept"
                  : "",
              "{}: {}: {}", path_.string(), what, std::strerror(errno));
  }

  fs::path path_;
  int fd_ = -1;
  uint64_t at_ = 0;
};

void check_space(const fs::path& folder, uint64_t needed) {
  std::error_code error;
  const fs::space_info space = fs::space(folder, error);
  if (error || space.available >= needed) return;
  fail_with("free some space there, or set HF_HUB_CACHE to a folder on another disk",
            "{}: the download needs {} bytes and the disk has {} free", folder.string(), needed,
            space.available);
}

}  // namespace

HubClient::HubClient(const ModelId& id, const HubSettings& settings, const ResolveOptions& options,
                     std::string absent_hint)
    : id_(id),
      settings_(settings),
      options_(options),
      absent_hint_(std::move(absent_hint)),
      cache_(settings.cache_dir, id.name) {}

void HubClient::refuse(const HttpResponse& response, const std::string& what) const {
  const std::string page = settings_.endpoint + "/" + id_.name, code = response.header("x-error-code");
  const std::string tokens = settings_.endpoint + "/settings/tokens";
  if (response.refused) {
    fail_with("check HF_ENDPOINT, or try again later",
              "{}: {}: {} answers with {}, which graft does not follow", id_.name, what, settings_.endpoint,
              response.error);
  }
  if (!response.connected && response.status == 0) {
    fail_with(
        "check the network (a proxy goes into https_proxy). A model that is in a folder is given as that "
        "folder, "
        "and one that is in the cache is used without network",
        "{}: cannot reach {} ({})", id_.name, settings_.endpoint, response.error);
  }
  if (!response.error.empty()) {
    fail_with("try again: the part already downloaded is kept", "{}: {}: the connection to {} broke ({})",
              id_.name, what, settings_.endpoint, response.error);
  }
  if (code == "RevisionNotFound") {
    fail_with("see " + page + "/tree/main for its branches and tags", "{}: has no revision '{}'", id_.name,
              id_.revision);
  }
  if (response.status == 404 && code == "EntryNotFound")
    fail_with("see " + page + "/tree/main for its files", "{}: {} is not there", id_.name, what);
  if (response.status == 403 || code == "GatedRepo") {
    fail_with(fmt::format("accept its conditions at {}, then set HF_TOKEN to a token of that account ({})",
                          page, tokens),
              "{}: the hub does not give access to it ({})", id_.name, response.status);
  }
  if (response.status == 401 && !settings_.token.empty()) {
    fail_with(
        "the token comes from HF_TOKEN or the token file: get a valid one at " + tokens + "; " + absent_hint_,
        "{}: not on the hub under this name, or the hub refuses the token (401)", id_.name);
  }
  if (response.status == 401 || response.status == 404) {
    fail_with(absent_hint_ + "; if the model is private, set HF_TOKEN (" + tokens + ")",
              "{}: is not a folder and not a model on the hub ({} answers {})", id_.name, settings_.endpoint,
              response.status);
  }
  fail_with(response.status == 429
                ? "wait some minutes and try again; with a token in HF_TOKEN the limits are higher"
                : "try again later: the part already downloaded is kept",
            "{}: {}: {} answers {}", id_.name, what, settings_.endpoint, response.status);
}

// Sleeps before the next attempt; false if no attempt is left.
bool HubClient::wait_to_retry(const HttpResponse& response, int attempt) {
  const bool unreachable = !response.connected && response.status == 0;
  if (stop_ || attempt >= (unreachable ? std::min(1, options_.max_retries) : options_.max_retries))
    return false;
  double seconds = std::min(
      kLongestBackoff, options_.retry_seconds * static_cast<double>(uint64_t{1} << std::min(attempt, 20)));
  if (const double asked = retry_after(response); asked >= 0) seconds = asked;
  if (seconds > kLongestWait) return false;
  log_info("{}: {}; trying again in {:.1f} s", id_.name,
           response.error.empty() ? fmt::format("the hub answers {}", response.status) : response.error,
           seconds);
  const auto until = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  while (!stop_ && std::chrono::steady_clock::now() < until)
    std::this_thread::sleep_for(std::chrono::duration<double>(std::min(0.05, seconds)));
  return !stop_;
}

HttpResponse HubClient::request(const HttpRequest& request) {
  for (int attempt = 0;; ++attempt) {
    HttpResponse response = http_request(request);
    if (!is_transient(response) || !wait_to_retry(response, attempt)) return response;
  }
}

ModelInfo HubClient::look_up_model() {
  HttpRequest query;
  query.url = settings_.endpoint + "/api/models/" + id_.name + "/revision/" + escaped(id_.revision, false);
  query.token = settings_.token;
  const HttpResponse response = request(query);
  if (!response.ok()) refuse(response, "its list of files");
  const Json json = parse_json(response.body, response.url);
  ModelInfo info;
  const auto is_text = [](const Json& at, const char* key) {
    return at.is_object() && at.contains(key) && at[key].is_string();
  };
  if (is_text(json, "sha")) info.commit = json["sha"].get<std::string>();
  if (!is_plain_name(info.commit) || !json.contains("siblings") || !json["siblings"].is_array()) {
    fail_with("check HF_ENDPOINT: the address should be that of a Hugging Face hub",
              "{}: {} does not answer as the hub does", id_.name, settings_.endpoint);
  }
  for (const Json& file : json["siblings"])
    if (is_text(file, "rfilename")) info.files.push_back(file["rfilename"].get<std::string>());
  return info;
}

RemoteFile HubClient::look_up_file(const std::string& commit, const std::string& name) {
  RemoteFile file;
  file.name = name;
  file.url = fmt::format("{}/{}/resolve/{}/{}", settings_.endpoint, id_.name, commit, escaped(name, true));
  HttpRequest query;
  query.url = file.url;
  query.head = true;
  query.token = settings_.token;
  query.stop = &stop_;
  const HttpResponse response = request(query);
  if (!response.error.empty() || response.status < 200 || response.status >= 400) refuse(response, name);
  const std::string answered = response.header("x-repo-commit");
  file.etag = etag_of(response);
  if (!is_plain_name(file.etag) || (!answered.empty() && answered != commit)) {
    fail_with("check HF_ENDPOINT; a proxy that strips headers does this, too",
              "{}: {}: {} names {} for it, not {}", id_.name, name, settings_.endpoint,
              file.etag.empty() ? "no ETag"
                                : "commit '" + printable(answered) + "', ETag '" + printable(file.etag) + "'",
              commit);
  }
  std::string size = response.header("x-linked-size");
  if (size.empty() && response.status < 300) size = response.header("content-length");
  file.has_size = !size.empty() && size.size() < 19 &&
                  std::all_of(size.begin(), size.end(), [](unsigned char c) { return std::isdigit(c); });
  if (file.has_size) file.size = std::stoull(size);
  return file;
}

void HubClient::report(const RemoteFile& file, uint64_t done) {
  const std::lock_guard lock(progress_mutex_);
  parts_[file.name].done = done;
  if (!options_.progress) return;
  DownloadProgress progress{file.name, done, file.size, 0, 0};
  for (const auto& [name, part] : parts_) {
    progress.done += part.done;
    progress.total += part.size;
  }
  options_.progress(progress);
}

void HubClient::fetch(const std::string& commit, const std::vector<std::string>& names) {
  std::vector<std::string> missing;
  std::copy_if(names.begin(), names.end(), std::back_inserter(missing),
               [&](const std::string& name) { return !cache_.has(commit, name); });
  std::vector<RemoteFile> files(missing.size());
  for_each_parallel(files.size(), options_.max_workers, stop_,
                    [&](size_t i) { files[i] = look_up_file(commit, missing[i]); });
  uint64_t needed = 0;
  make_folders(cache_.root() / "blobs");
  for (const RemoteFile& file : files) {
    parts_[file.name].size = file.size;
    if (!path_exists(cache_.blob(file.etag))) needed += file.size;
  }
  check_space(cache_.root(), needed);
  for_each_parallel(files.size(), options_.max_workers, stop_, [&](size_t i) { fetch_blob(files[i]); });
  // Files are linked at the end and in this order. The weights are last, so that a snapshot with weights is
  // complete.
  for (const RemoteFile& file : files) cache_.link(commit, file.name, file.etag);
}

void HubClient::fetch_blob(const RemoteFile& file) {
  const fs::path blob = cache_.blob(file.etag);
  const FileLock lock(cache_.lock(file.etag), stop_);
  std::error_code ignored;
  // A blob of another size was left by a crashed program; the lock guarantees that no process is writing it.
  const bool there =
      fs::is_regular_file(blob, ignored) && (!file.has_size || fs::file_size(blob, ignored) == file.size);
  if (!there) {
    const fs::path incomplete = blob.string() + ".incomplete";
    fetch_locked(file, incomplete);
    move_path(incomplete, blob);
  }
  report(file, file.size);
}

// Each round requests the missing bytes. A round that received new bytes does not count as a failure.
void HubClient::fetch_locked(const RemoteFile& file, const fs::path& incomplete) {
  PartialFile part(incomplete);
  // A partial file of an earlier process is continued only if a hash verifies the result.
  if (!is_sha256(file.etag) && part.size() > 0) part.clear();
  std::exception_ptr write_error;
  HttpRequest query;
  query.url = file.url;
  query.token = settings_.token;
  query.stop = &stop_;
  bool hash_was_wrong = false;
  for (int attempt = 0;; ++attempt) {
    if (file.has_size && part.size() > file.size) part.clear();
    const uint64_t before = part.size();
    HttpResponse response;
    if (!file.has_size || part.size() < file.size || file.size == 0) {
      bool first = true;
      query.range_begin = before;
      query.sink = [&](const HttpResponse& head, std::string_view piece) {
        try {
          const bool resumed = head.status == 206 &&
                               head.header("content-range").starts_with(fmt::format("bytes {}-", before));
          if (std::exchange(first, false) && !resumed && before > 0) part.clear();
          part.append(piece);
          report(file, part.size());
          return true;
        } catch (...) {
          write_error = std::current_exception();
          return false;
        }
      };
      response = http_request(query);
      if (write_error) std::rethrow_exception(write_error);
    } else {
      response.status = 200;  // an earlier attempt received the whole file
    }
    const bool whole = response.ok() && (!file.has_size || part.size() == file.size);
    if (whole) {
      part.sync();
      if (!is_sha256(file.etag) || sha256_of_file(incomplete) == file.etag) return;
      part.clear();
      if (std::exchange(hash_was_wrong, true)) {
        fail_with("the server or a proxy damaged the file: try again later, or without a proxy",
                  "{}: {}: downloaded twice, and both times the sha256 is not {}", id_.name, file.name,
                  file.etag);
      }
      log_warning("{}: {}: the sha256 is wrong, downloading it again", id_.name, file.name);
      continue;
    }
    if (response.status == 416) {  // the partial file is not a prefix of the file
      part.clear();
    } else if (response.ok()) {
      response.error = fmt::format("{} of {} bytes received", part.size(), file.size);
    } else if (!is_transient(response)) {
      refuse(response, file.name);
    }
    if (part.size() > before) attempt = 0;
    if (!wait_to_retry(response, attempt)) refuse(response, file.name);
  }
}

}  // namespace graft::hub
