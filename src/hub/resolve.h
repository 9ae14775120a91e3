// Models by name: a folder as it is, or ORG/NAME[@revision] from the hub through the cache that Python's
// huggingface_hub uses.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

namespace graft::hub {

struct DownloadProgress {
  std::string file;  // the file of the last progress
  uint64_t file_done = 0, file_size = 0;
  uint64_t done = 0,
           total = 0;  // bytes of all files known so far; bytes of an earlier attempt count as done
};

// The environment replaces empty fields, as in Python: HF_HUB_CACHE or HF_HOME, HF_ENDPOINT, HF_TOKEN or the
// token file, HF_HUB_OFFLINE.
struct ResolveOptions {
  std::filesystem::path cache_dir;
  std::string endpoint;
  std::string token;
  std::optional<bool> offline;
  int max_workers = 4;  // files at a time
  int max_retries = 5;  // after status 429 or 5xx, or a broken connection without new bytes
  double retry_seconds =
      1;  // before the first retry; doubles each time; a Retry-After of the server takes precedence
  std::function<void(const DownloadProgress&)> progress;  // called from several threads, one at a time
};

// The folder of a model. An existing folder is returned unchanged; for a sentence-transformers folder its
// transformer's folder is returned. Otherwise the name is ORG/NAME[@revision] or a legacy name
// (bert-base-uncased). A complete snapshot in the cache is used without network access; else the missing
// files are downloaded. Throws Error with a hint if the folder or model does not exist, access is denied, or
// there is no network.
std::filesystem::path resolve_model(const std::string& name_or_dir, const ResolveOptions& options = {});

// Downloads the missing files of the revision's newest commit (config, weights with safetensors preferred,
// tokenizer) and returns the snapshot's folder. Throws as resolve_model, and always if offline.
std::filesystem::path pull_model(const std::string& id, const ResolveOptions& options = {});

}  // namespace graft::hub
