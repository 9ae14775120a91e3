#include "hub/cache.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cctype>
#include <cstdlib>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/folder.h"
#include "base/json.h"
#include "hub/printable.h"

namespace graft::hub {
namespace fs = std::filesystem;

namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

fs::path expand_home(const std::string& path) {
  if (path == "~" || path.starts_with("~/")) return fs::path(environment("HOME") + path.substr(1));
  return path;
}

bool is_true(std::string text) {  // as Python reads HF_HUB_OFFLINE
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::toupper(c); });
  return text == "1" || text == "ON" || text == "YES" || text == "TRUE";
}

std::string stripped(const std::string& text) {
  const size_t begin = text.find_first_not_of(" \t\r\n"), end = text.find_last_not_of(" \t\r\n");
  return begin == std::string::npos ? "" : text.substr(begin, end - begin + 1);
}

}  // namespace

fs::path hf_home() {
  if (const std::string home = environment("HF_HOME"); !home.empty()) return expand_home(home);
  if (const std::string cache = environment("XDG_CACHE_HOME"); !cache.empty())
    return expand_home(cache) / "huggingface";
  return expand_home("~/.cache/huggingface");
}

namespace {

fs::path hub_cache() {
  for (const char* name : {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"})
    if (const std::string path = environment(name); !path.empty()) return expand_home(path);
  return hf_home() / "hub";
}

std::string find_token() {
  for (const char* name : {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"})
    if (std::string token = stripped(environment(name)); !token.empty()) return token;
  if (is_true(environment("HF_HUB_DISABLE_IMPLICIT_TOKEN"))) return "";
  const std::string path = environment("HF_TOKEN_PATH");
  const fs::path file = path.empty() ? hf_home() / "token" : expand_home(path);
  std::error_code ignored;
  return fs::is_regular_file(file, ignored) ? stripped(read_file(file)) : "";
}

bool is_name_part(const std::string& part) {  // as the hub's validate_repo_id
  const auto fits = [](unsigned char c) { return std::isalnum(c) || c == '-' || c == '_' || c == '.'; };
  return !part.empty() && part.size() <= 96 && std::all_of(part.begin(), part.end(), fits) &&
         part.find("--") == std::string::npos && part.find("..") == std::string::npos &&
         std::string("-.").find(part.front()) == std::string::npos &&
         std::string("-.").find(part.back()) == std::string::npos;
}

bool is_revision(const std::string& text) {  // may contain slashes (refs/pr/1); it becomes a path below refs/
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find('/', begin), text.size());
    if (!is_plain_name(text.substr(begin, end - begin))) return false;
    begin = end + 1;
  }
  return !text.empty();
}

// A temporary name beside `path`. The finished file is renamed, so that other processes and threads see the
// old or the new one.
fs::path unique_beside(const fs::path& path) {
  static std::atomic<uint64_t> counter{0};
  return path.string() + fmt::format(".{}-{}", ::getpid(), ++counter);
}

}  // namespace

HubSettings hub_settings(const ResolveOptions& options) {
  HubSettings out;
  out.cache_dir = options.cache_dir.empty() ? hub_cache() : options.cache_dir;
  out.endpoint = !options.endpoint.empty() ? options.endpoint : environment("HF_ENDPOINT");
  if (out.endpoint.empty()) out.endpoint = "https://huggingface.co";
  while (out.endpoint.ends_with('/')) out.endpoint.pop_back();
  out.token = options.token.empty() ? find_token() : options.token;
  if (options.offline.value_or(false)) out.offline = "the option offline is set";
  for (const char* name : {"TRANSFORMERS_OFFLINE", "HF_HUB_OFFLINE"})
    if (!options.offline && is_true(environment(name))) out.offline = std::string(name) + " is set";
  return out;
}

std::optional<ModelId> parse_model_id(const std::string& text) {
  ModelId id;
  const size_t at = text.find('@');
  id.name = text.substr(0, at);
  if (at != std::string::npos) id.revision = text.substr(at + 1);
  const size_t slash = id.name.find('/');
  const bool valid = slash == std::string::npos
                         ? is_name_part(id.name)
                         : is_name_part(id.name.substr(0, slash)) && is_name_part(id.name.substr(slash + 1));
  if (!valid || !is_revision(id.revision)) return std::nullopt;
  return id;
}

bool is_plain_name(const std::string& text) {
  const auto fits = [](unsigned char c) { return c > 0x20 && c != 0x7F && c != '/' && c != '\\'; };
  return !text.empty() && text.size() <= 200 && text != "." && text != ".." &&
         std::all_of(text.begin(), text.end(), fits);
}

ModelCache::ModelCache(const fs::path& cache_dir, const std::string& name) {
  std::string folder = "models--" + name;
  if (const size_t slash = folder.find('/'); slash != std::string::npos) folder.replace(slash, 1, "--");
  root_ = cache_dir / folder;
  locks_ = cache_dir / ".locks" / folder;
}

std::optional<std::string> ModelCache::commit_of(const std::string& revision) const {
  std::error_code ignored;
  if (const fs::path ref = root_ / "refs" / revision; fs::is_regular_file(ref, ignored)) {
    const std::string commit = stripped(read_file(ref));
    if (is_plain_name(commit)) return commit;
  }
  if (is_plain_name(revision) && fs::is_directory(snapshot(revision), ignored)) return revision;
  return std::nullopt;
}

std::vector<std::string> ModelCache::commits() const {
  std::vector<std::string> names;
  if (!is_folder(root_ / "snapshots")) return names;
  for (const fs::path& path : list_folder(root_ / "snapshots"))
    if (is_folder(path)) names.push_back(path.filename().string());
  return names;
}

std::vector<std::string> ModelCache::revisions() const {
  std::vector<std::string> names;
  if (!is_folder(root_ / "refs")) return names;
  for (const fs::path& path : list_folder(root_ / "refs"))
    if (is_file(path)) names.push_back(path.filename().string());
  return names;
}

void ModelCache::set_commit(const std::string& revision, const std::string& commit) const {
  if (revision == commit) return;
  const fs::path ref = root_ / "refs" / revision, fresh = unique_beside(ref);
  make_folders(ref.parent_path());
  write_file(fresh, commit);
  move_path(fresh, ref);
}

bool ModelCache::has(const std::string& commit, const std::string& file) const {
  std::error_code ignored;
  return fs::is_regular_file(snapshot(commit) / file, ignored);
}

void ModelCache::link(const std::string& commit, const std::string& file, const std::string& etag) const {
  const fs::path at = snapshot(commit) / file;
  make_folders(at.parent_path());
  const fs::path fresh = unique_beside(at);
  std::error_code error;
  const fs::path target = fs::absolute(blob(etag), error), from = fs::absolute(at.parent_path(), error);
  const fs::path relative = error ? fs::path() : fs::relative(target, from, error);
  if (!error) fs::create_symlink(relative, fresh, error);
  if (error) fs::copy_file(blob(etag), fresh, fs::copy_options::overwrite_existing, error);
  if (!error) fs::rename(fresh, at, error);
  if (error) fail("{}: cannot link it to its blob: {}", at.string(), error.message());
}

std::vector<std::string> shards_of(const fs::path& index) {
  const Json json = read_json(index);
  std::set<std::string> files;
  if (json.is_object() && json.contains("weight_map") && json["weight_map"].is_object()) {
    for (const auto& [name, file] : json["weight_map"].items()) {
      if (!file.is_string() || !is_plain_name(file.get<std::string>()))
        fail("{}: the file of tensor '{}' is not the name of a file beside it", index.string(),
             printable(name));
      files.insert(file.get<std::string>());
    }
  }
  if (files.empty()) fail("{}: has no \"weight_map\" of tensor names to files", index.string());
  return {files.begin(), files.end()};
}

namespace {

bool has_all_shards(const fs::path& index) {
  try {
    const std::vector<std::string> shards = shards_of(index);
    return std::all_of(shards.begin(), shards.end(),
                       [&](const std::string& file) { return path_exists(index.parent_path() / file); });
  } catch (const Error&) {
    return false;  // a broken index is downloaded again
  }
}

}  // namespace

SnapshotState state_of(const fs::path& snapshot) {
  const auto has = [&](const char* file) { return path_exists(snapshot / file); };
  SnapshotState state;
  state.config = has("config.json") || has("adapter_config.json");
  for (const char* file : {"model.safetensors", "pytorch_model.bin", "adapter_model.safetensors",
                           "adapter_model.bin", "adapter.safetensors", "pytorch_adapter.bin"})
    state.weights |= has(file);
  for (const char* file : {"model.safetensors.index.json", "pytorch_model.bin.index.json"})
    state.weights |= has(file) && has_all_shards(snapshot / file);
  for (const char* file : {"tokenizer.json", "vocab.txt", "sentencepiece.bpe.model", "spiece.model",
                           "spm.model", "tokenizer.model"})
    state.tokenizer |= has(file);
  state.tokenizer |= has("vocab.json") && has("merges.txt");
  // an adapter uses its base model's tokenizer
  state.tokenizer |= has("adapter_config.json") && !has("config.json");
  return state;
}

}  // namespace graft::hub
