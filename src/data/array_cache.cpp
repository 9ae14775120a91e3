#include "data/array_cache.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/folder.h"
#include "base/log.h"
#include "base/memory.h"
#include "hub/cache.h"
#include "hub/sha256.h"

namespace graft::data {
namespace fs = std::filesystem;
namespace {

// Locked while it lives, among processes and among the threads of one.
class FolderLock {
 public:
  explicit FolderLock(const fs::path& file) {
    fd_ = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd_ < 0)
      fail_with("choose a folder that you may write to (--tokenized_path)", "{}: cannot create it: {}",
                file.string(), std::strerror(errno));
    if (::flock(fd_, LOCK_EX | LOCK_NB) == 0) return;
    log_info("{}: another process builds this cache; waiting for it", file.string());
    while (::flock(fd_, LOCK_EX) != 0 && errno == EINTR) {
    }
  }
  ~FolderLock() { ::close(fd_); }
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int fd_;
};

// A folder of the caches. Throws Error that names the option where it cannot be made.
void make_cache_folder(const fs::path& folder) try { make_folders(folder); } catch (const Error& e) {
  throw Error(e.what(),
              "it is for the tokenised text: give a folder that you may write to as --tokenized_path");
}

// Removes the folder of a build that did not end.
struct Workspace {
  explicit Workspace(fs::path p) : path(std::move(p)) {
    remove_tree(path);
    make_cache_folder(path);
  }
  ~Workspace() {
    try {
      remove_tree(path);
    } catch (...) {  // the next build removes it
    }
  }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
  fs::path path;
};

Json manifest_of(const fs::path& folder, const std::vector<std::string>& names, const Json& counts) {
  Json arrays = Json::object();
  for (const std::string& name : names) {
    const MappedFile file(folder / name);
    arrays[name] = {{"bytes", static_cast<int64_t>(file.size())},
                    {"sha256", hub::sha256_of_file(folder / name)}};
  }
  return {{"counts", counts}, {"arrays", arrays}};
}

// What is wrong with a cache; "" = nothing.
std::string complaint_of(const fs::path& folder, const Json& key, const std::vector<std::string>& names) try {
  if (!(read_json(folder / "key.json") == key)) return "key.json is not that of this cache";
  const Json arrays = read_json(folder / "manifest.json").at("arrays");
  for (const std::string& name : names) {
    const Json& entry = arrays.at(name);
    const auto size = static_cast<int64_t>(MappedFile(folder / name).size());
    if (size != entry.at("bytes").get<int64_t>())
      return fmt::format("{} has {} bytes, not {}", name, size, entry.at("bytes").get<int64_t>());
    if (hub::sha256_of_file(folder / name) != entry.at("sha256").get<std::string>())
      return name + " has another sha256 than in manifest.json";
  }
  return "";
} catch (const std::exception& e) {  // a file that is absent or is not json
  return e.what();
}

int64_t tokens_of(const CachedArrays& arrays) { return arrays.counts.at("tokens").get<int64_t>(); }

}  // namespace

Json key_of_file(const fs::path& file) {
  return {{"sha256", hub::sha256_of_file(file)},
          {"format", file.stem().extension().string() + file.extension().string()}};
}

Json key_of_tokenizer(const Tokenizer& tokenizer, const fs::path& folder) {
  static std::atomic<int> calls = 0;
  make_cache_folder(folder);
  const Workspace work(folder / fmt::format("tokenizer-{}-{}.tmp", ::getpid(), ++calls));
  tokenizer.save(work.path);
  Json json = Json::object();
  for (const fs::path& file : list_folder(work.path))
    json[file.filename().string()] = hub::sha256_of_file(file);
  return json;
}

std::optional<uint64_t> size_of_files(const std::vector<fs::path>& files) {
  uint64_t bytes = 0;
  for (const fs::path& file : files) {
    if (!is_file(file)) return std::nullopt;
    bytes += MappedFile(file).size();
  }
  return bytes;
}

bool is_cached(const std::string& given, const std::vector<fs::path>& files, uint64_t cached_bytes) {
  const std::optional<uint64_t> bytes = size_of_files(files);
  return bytes && (!given.empty() || *bytes >= cached_bytes);
}

TokenCache token_cache_in(const std::string& given, bool overwrite) {
  return {given.empty() ? hub::hf_home() / "graft-tokenized" : fs::path(given), overwrite};
}

ArrayFiles::ArrayFiles(const fs::path& folder, const std::vector<std::string>& names) {
  for (const std::string& name : names) files_.push_back(std::make_unique<DurableFile>(folder / name, 0));
}

void ArrayFiles::commit() {
  for (const auto& file : files_) file->commit();
}

CachedArrays open_array_cache(const TokenCache& cache, const Json& key, const std::vector<std::string>& names,
                              const std::function<Json(const fs::path& folder)>& build) {
  make_cache_folder(cache.folder);
  const std::string name = hub::sha256_of(key.dump(2) + "\n");  // the bytes of key.json
  CachedArrays arrays{cache.folder / name, {}};
  const FolderLock lock(cache.folder / (name + ".lock"));
  const bool there = is_folder(arrays.folder);
  const std::string complaint = there && !cache.overwrite ? complaint_of(arrays.folder, key, names) : "";
  if (there && !cache.overwrite && complaint.empty()) {
    arrays.counts = read_json(arrays.folder / "manifest.json").at("counts");
    log_info("tokenised text: {} tokens read from the cache {}", tokens_of(arrays), arrays.folder.string());
    return arrays;
  }
  if (!complaint.empty())
    log_warning("{}: the cache is damaged and is built again: {}", arrays.folder.string(), complaint);
  const Workspace work(cache.folder / (name + ".tmp"));
  arrays.counts = build(work.path);
  write_json(work.path / "key.json", key);
  write_json(work.path / "manifest.json", manifest_of(work.path, names, arrays.counts));
  replace_folder(work.path, arrays.folder);
  sync_folder(cache.folder);
  log_info("tokenised text: {} tokens written to the cache {}", tokens_of(arrays), arrays.folder.string());
  return arrays;
}

}  // namespace graft::data
