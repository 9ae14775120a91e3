// The cache layout of Python's huggingface_hub:
//   models--ORG--NAME/blobs/ETAG   refs/REVISION (holds a commit)   snapshots/COMMIT/FILE -> ../../blobs/ETAG
#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "hub/resolve.h"

namespace graft::hub {

// ResolveOptions whose empty fields are filled from the environment.
struct HubSettings {
  std::filesystem::path cache_dir;
  std::string endpoint;  // without a slash at its end
  std::string token;     // "" = anonymous
  std::string offline;   // the setting that forbids the network: "HF_HUB_OFFLINE is set"; "" = none
};
HubSettings hub_settings(const ResolveOptions& options);
// HF_HOME, or huggingface in the user's cache folder.
std::filesystem::path hf_home();

struct ModelId {
  std::string name;  // ORG/NAME or a legacy NAME
  std::string revision = "main";
};
// nullopt if `text` cannot be the name of a model on the hub.
std::optional<ModelId> parse_model_id(const std::string& text);

// True if `text`, which comes from a server, is safe as a file name.
bool is_plain_name(const std::string& text);

class ModelCache {
 public:
  ModelCache(const std::filesystem::path& cache_dir, const std::string& name);

  // The commit of `revision` (a branch, a tag or a commit) at the last lookup.
  std::optional<std::string> commit_of(const std::string& revision) const;
  // The commits that have a folder in the cache, sorted; a commit may have no revision.
  std::vector<std::string> commits() const;
  // The revisions that were looked up, sorted.
  std::vector<std::string> revisions() const;
  void set_commit(const std::string& revision, const std::string& commit) const;

  std::filesystem::path snapshot(const std::string& commit) const { return root_ / "snapshots" / commit; }
  std::filesystem::path blob(const std::string& etag) const { return root_ / "blobs" / etag; }
  std::filesystem::path lock(const std::string& etag) const { return locks_ / (etag + ".lock"); }
  bool has(const std::string& commit, const std::string& file) const;
  // Makes snapshots/COMMIT/FILE a relative link to the blob, as Python does (a copy if the file system has no
  // links).
  void link(const std::string& commit, const std::string& file, const std::string& etag) const;
  const std::filesystem::path& root() const { return root_; }

 private:
  std::filesystem::path root_, locks_;
};

// The shards of an index, without repetition. Throws if one is not a plain file name.
std::vector<std::string> shards_of(const std::filesystem::path& index);

// True if the folder has config.json and all weights; `tokenizer` is true if it has a vocabulary, too.
struct SnapshotState {
  bool weights = false, config = false, tokenizer = false;
  bool complete() const { return weights && config && tokenizer; }
};
SnapshotState state_of(const std::filesystem::path& snapshot);

}  // namespace graft::hub
