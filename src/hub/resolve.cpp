#include "hub/resolve.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "base/checkpoint_files.h"
#include "base/error.h"
#include "base/log.h"
#include "base/nearest.h"
#include "hub/cache.h"
#include "hub/download.h"
#include "hub/sentence_transformers.h"

namespace graft::hub {
namespace fs = std::filesystem;

namespace {

constexpr const char* kConfigs[] = {"config.json", "adapter_config.json"};
// Downloaded in addition to the tokenizer's files: the pooling of sentence-transformers, the head beside an
// adapter of AdapterHub.
constexpr const char* kSmallFiles[] = {"generation_config.json",
                                       "tokenizer.json",
                                       "modules.json",
                                       "sentence_bert_config.json",
                                       "config_sentence_transformers.json",
                                       "1_Pooling/config.json",
                                       "head_config.json",
                                       "model_head.safetensors",
                                       "pytorch_model_head.bin"};
// The first one that a model has is used.
constexpr const char* kWeights[] = {"model.safetensors",         "model.safetensors.index.json",
                                    "pytorch_model.bin",         "pytorch_model.bin.index.json",
                                    "adapter_model.safetensors", "adapter_model.bin",
                                    "adapter.safetensors",       "pytorch_adapter.bin"};

std::vector<std::string> subfolders(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code ignored;
  for (fs::directory_iterator at(folder, ignored), end; at != end; at.increment(ignored))
    if (at->is_directory(ignored)) names.push_back(at->path().filename().string());
  return names;
}

// "the nearest folder is ...": the hint for a mistyped path.
std::string nearest_folder(const std::string& text) {
  fs::path wanted(text);
  while (!wanted.has_filename() && wanted.has_parent_path() && wanted != wanted.parent_path())
    wanted = wanted.parent_path();
  fs::path parent = wanted.has_parent_path() ? wanted.parent_path() : fs::path(".");
  std::error_code ignored;
  if (!fs::is_directory(parent, ignored)) {  // a parent is mistyped as well
    wanted = parent;
    parent = wanted.has_parent_path() ? wanted.parent_path() : fs::path(".");
  }
  const std::string near = nearest_name(wanted.filename().string(), subfolders(parent));
  if (near.empty()) return "no folder nearby has a similar name";
  return "the nearest folder is " + (parent == "." ? fs::path(near) : parent / near).string();
}

[[noreturn]] void fail_without_weights(const ModelId& id, const ModelInfo& info) {
  std::vector<std::string> others;
  for (const std::string& file : info.files)
    for (const char* ending : {".h5", ".msgpack", ".gguf", ".onnx", ".ot", ".safetensors", ".bin", ".pt"})
      if (file.ends_with(ending)) others.push_back(file);
  constexpr size_t kShown = 8;
  const bool more = others.size() > kShown;
  others.resize(std::min(others.size(), kShown));
  fail_with("choose a model that has model.safetensors or pytorch_model.bin",
            "{}: has no weights that graft reads; {}", id.name,
            others.empty() ? "it has no weights at all"
                           : fmt::format("it has {}{}", fmt::join(others, ", "), more ? ", ..." : ""));
}

// Config, tokenizer and weights among the files of a model, the weights last.
std::vector<std::string> choose_files(const ModelId& id, const ModelInfo& info) {
  const auto has = [&](const char* name) {
    return std::find(info.files.begin(), info.files.end(), name) != info.files.end();
  };
  std::vector<std::string> out;
  std::copy_if(std::begin(kConfigs), std::end(kConfigs), std::back_inserter(out), has);
  if (out.empty()) {
    fail_with("choose a model in the format of transformers", "{}: has no config.json among its {} files",
              id.name, info.files.size());
  }
  std::copy_if(std::begin(kTokenizerFiles), std::end(kTokenizerFiles), std::back_inserter(out), has);
  std::copy_if(std::begin(kSmallFiles), std::end(kSmallFiles), std::back_inserter(out), has);
  const auto weights = std::find_if(std::begin(kWeights), std::end(kWeights), has);
  if (weights == std::end(kWeights)) fail_without_weights(id, info);
  out.emplace_back(*weights);
  return out;
}

fs::path pull_into_cache(const ModelId& id, const HubSettings& settings, const ResolveOptions& options,
                         const std::string& absent_hint) {
  HubClient hub(id, settings, options, absent_hint);
  const ModelInfo info = hub.look_up_model();
  const ModelCache cache(settings.cache_dir, id.name);
  const std::vector<std::string> files = choose_files(id, info);
  hub.fetch(info.commit, files);
  if (files.back().ends_with(".index.json"))
    hub.fetch(info.commit, shards_of(cache.snapshot(info.commit) / files.back()));
  cache.set_commit(id.revision, info.commit);
  return cache.snapshot(info.commit);
}

// If the cache folder is not writable, the hint proposes another one.
fs::path pull(const ModelId& id, const HubSettings& settings, const ResolveOptions& options,
              const std::string& absent_hint) {
  try {
    return pull_into_cache(id, settings, options, absent_hint);
  } catch (const Error& e) {
    if (!e.hint().empty() || !std::string(e.what()).starts_with(settings.cache_dir.string())) throw;
    throw Error(e.what(), "set HF_HUB_CACHE to a folder that you may write to");
  }
}

// For a revision that the cache lacks: the cached commits of the model ("; cached commits: C (main)") and how
// to use one.
struct Cached {
  std::string what, hint;
};
Cached other_commits(const ModelCache& cache, const ModelId& id) {
  const std::vector<std::string> commits = cache.commits();
  if (commits.empty()) return {};
  std::vector<std::string> shown;
  for (const std::string& commit : commits) {
    std::vector<std::string> names;
    for (const std::string& revision : cache.revisions())
      if (cache.commit_of(revision) == commit) names.push_back(revision);
    shown.push_back(names.empty() ? commit : fmt::format("{} ({})", commit, fmt::join(names, ", ")));
  }
  constexpr size_t kShown = 5;
  const bool more = shown.size() > kShown;
  shown.resize(std::min(shown.size(), kShown));
  return {fmt::format("; cached commits: {}{}", fmt::join(shown, ", "), more ? ", ..." : ""),
          fmt::format("give {}@{} to use the copy in the cache", id.name, commits.back())};
}

// "unset HF_HUB_OFFLINE", for a `settings.offline` of "HF_HUB_OFFLINE is set".
std::string go_online(const HubSettings& settings) {
  const std::string name = settings.offline.substr(0, settings.offline.find(' '));
  return name == "the" ? "allow the network" : "unset " + name;
}

[[noreturn]] void fail_offline(const ModelId& id, const HubSettings& settings, const std::string& reason,
                               const Cached& other) {
  const std::string hint = fmt::format(
      "{} to download it, or run `graft pull {}` on a connected machine and copy its cache folder here",
      go_online(settings), id.name);
  fail_with(other.hint.empty() ? hint : other.hint + ", or " + hint,
            "{}: {} in {}{}; {}, so nothing is downloaded", id.name, reason, settings.cache_dir.string(),
            other.what, settings.offline);
}

ModelId parse_or_refuse(const std::string& text) {
  const std::optional<ModelId> id = parse_model_id(text);
  if (!id)
    fail_with(nearest_folder(text),
              "{}: no such folder, and no name that a model on the hub can have (ORG/NAME)", text);
  return *id;
}

}  // namespace

fs::path resolve_model(const std::string& name_or_dir, const ResolveOptions& options) {
  std::error_code ignored;
  if (fs::is_directory(name_or_dir, ignored)) return transformer_folder(name_or_dir);
  if (fs::exists(name_or_dir, ignored))
    fail_with("give the folder that contains it", "{}: is a file, but the folder of a model is expected",
              name_or_dir);
  const ModelId id = parse_or_refuse(name_or_dir);
  const HubSettings settings = hub_settings(options);
  const ModelCache cache(settings.cache_dir, id.name);
  const std::optional<std::string> commit = cache.commit_of(id.revision);
  const SnapshotState state = commit ? state_of(cache.snapshot(*commit)) : SnapshotState{};
  if (state.complete()) return cache.snapshot(*commit);
  // The model may have no vocabulary: the hub is asked only if the network is available.
  const bool usable = state.config && state.weights;
  const Cached other = commit ? Cached() : other_commits(cache, id);
  if (!settings.offline.empty()) {
    if (usable) return cache.snapshot(*commit);
    fail_offline(id, settings,
                 commit               ? fmt::format("incomplete ({})",
                                      state.config ? "its weights are missing" : "config.json is missing")
                 : other.what.empty() ? "neither a folder nor a model"
                                      : fmt::format("revision '{}' is not", id.revision),
                 other);
  }
  try {
    return pull(id, settings, options, nearest_folder(name_or_dir));
  } catch (const Error& e) {
    if (!usable && !other.hint.empty()) throw Error(e.what() + other.what, e.hint() + "; or " + other.hint);
    if (!usable) throw;
    log_warning("{}; using the copy in the cache, which has no tokenizer", e.what());
    return cache.snapshot(*commit);
  }
}

fs::path pull_model(const std::string& name, const ResolveOptions& options) {
  const ModelId id = parse_or_refuse(name);
  const HubSettings settings = hub_settings(options);
  if (!settings.offline.empty())
    fail_with(go_online(settings) + " to download", "{}: {}, so nothing is downloaded", id.name,
              settings.offline);
  return pull(id, settings, options, nearest_folder(name));
}

}  // namespace graft::hub
