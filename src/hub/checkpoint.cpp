// The weights of a checkpoint folder, in one of four layouts.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/folder.h"
#include "base/json.h"
#include "hub/state_dict.h"
#include "hub/torch_bin.h"

namespace graft::hub {
namespace fs = std::filesystem;

namespace {

constexpr const char* kSingle = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";
constexpr const char* kTorchSingle = "pytorch_model.bin";
constexpr const char* kTorchIndex = "pytorch_model.bin.index.json";

// The tensor -> shard map of an index; the files are plain names inside the folder of the index.
std::map<std::string, std::string> read_weight_map(const fs::path& index) {
  const Json json = read_json(index);
  if (!json.is_object() || !json.contains("weight_map") || !json["weight_map"].is_object())
    fail("{}: has no \"weight_map\" of tensor names to files", index.string());
  std::map<std::string, std::string> out;
  for (const auto& [name, file] : json["weight_map"].items()) {
    if (!file.is_string()) fail("{}: the file of tensor '{}' is not a string", index.string(), name);
    const std::string text = file.get<std::string>();
    if (text.empty() || text.find('/') != std::string::npos || text == "." || text == "..")
      fail("{}: the file of tensor '{}' is '{}', not the name of a file beside it", index.string(), name,
           text);
    out[name] = text;
  }
  return out;
}

StateDict read_sharded(const fs::path& index, StateDict (*read_shard)(const fs::path&)) {
  const std::map<std::string, std::string> weight_map = read_weight_map(index);
  std::set<std::string> files, missing;
  for (const auto& [name, file] : weight_map)
    (path_exists(index.parent_path() / file) ? files : missing).insert(file);
  if (!missing.empty()) {
    fail_with("copy or download the missing files into that folder", "{}: {} of {} shards are missing: {}",
              index.string(), missing.size(), files.size() + missing.size(), fmt::join(missing, ", "));
  }
  StateDict out;
  for (const std::string& file : files) {
    auto shard = std::make_shared<StateDict>(read_shard(index.parent_path() / file));
    for (const TensorView& tensor : shard->tensors()) out.add(tensor);
    out.keep(shard);
  }
  for (const auto& [name, file] : weight_map) {
    if (!out.find(name)) {
      fail_with("index and shards come from different saves: fetch or save all of them again",
                "{}: tensor '{}' should be in {} and is not", index.string(), name, file);
    }
  }
  return out;
}

[[noreturn]] void fail_without_weights(const fs::path& folder) {
  if (!is_folder(folder))
    fail("{}: {}", folder.string(), path_exists(folder) ? "is not a folder" : "no such folder");
  std::vector<std::string> names;
  for (const fs::path& path : list_folder(folder)) names.push_back(path.filename().string());
  constexpr size_t kShown = 20;
  const size_t total = names.size();
  names.resize(std::min(total, kShown));
  std::string hint = "give the folder of a checkpoint as Hugging Face writes it";
  for (const std::string& name : names) {
    if (name == "tf_model.h5" || name == "flax_model.msgpack" || name.ends_with(".ckpt.index")) {
      hint = fmt::format("{} holds TensorFlow or Flax weights: take the model's PyTorch or safetensors files",
                         name);
    } else if (name.ends_with(".safetensors") || name.ends_with(".bin")) {
      hint = fmt::format("if {} holds the weights, rename it to {}", name,
                         name.ends_with(".bin") ? kTorchSingle : kSingle);
    }
  }
  fail_with(hint, "{}: no weights ({}, {} or their .index.json); {}", folder.string(), kSingle, kTorchSingle,
            total == 0 ? std::string("the folder is empty")
                       : fmt::format("the folder holds {}{}", fmt::join(names, ", "),
                                     total > kShown ? ", ..." : ""));
}

// Tensors in the given order; a new shard starts before the tensor that would exceed the limit.
std::vector<std::vector<TensorToWrite>> split_into_shards(const std::vector<TensorToWrite>& tensors,
                                                          uint64_t limit) {
  std::vector<std::vector<TensorToWrite>> shards(1);
  uint64_t size = 0;
  for (const TensorToWrite& t : tensors) {
    const uint64_t bytes = stored_bytes(t);
    if (!shards.back().empty() && size + bytes > limit) {
      shards.emplace_back();
      size = 0;
    }
    shards.back().push_back(t);
    size += bytes;
  }
  return shards;
}

std::string index_text(const std::vector<std::vector<TensorToWrite>>& shards,
                       const std::vector<fs::path>& files) {
  std::map<std::string, std::string> weight_map;  // sorted, as the reference writes it
  uint64_t total = 0;
  for (size_t i = 0; i < shards.size(); ++i) {
    for (const TensorToWrite& t : shards[i]) {
      weight_map[t.name] = files[i].filename().string();
      total += stored_bytes(t);
    }
  }
  Json json;
  json["metadata"]["total_size"] = total;
  json["weight_map"] = weight_map;
  return json.dump(2) + "\n";
}

}  // namespace

namespace {

StateDict not_empty(StateDict tensors, const fs::path& file) {
  if (tensors.tensors().empty())
    fail_with("copy or download the weights again", "{}: holds no tensors", file.string());
  return tensors;
}

}  // namespace

StateDict read_checkpoint(const fs::path& folder) {
  if (path_exists(folder / kSingle)) return not_empty(read_safetensors(folder / kSingle), folder / kSingle);
  if (path_exists(folder / kIndex)) return read_sharded(folder / kIndex, read_safetensors);
  if (path_exists(folder / kTorchSingle))
    return not_empty(read_torch_bin(folder / kTorchSingle), folder / kTorchSingle);
  if (path_exists(folder / kTorchIndex)) return read_sharded(folder / kTorchIndex, read_torch_bin);
  fail_without_weights(folder);
}

std::vector<fs::path> write_checkpoint(const fs::path& folder, const std::vector<TensorToWrite>& tensors,
                                       uint64_t max_shard_bytes) {
  std::set<std::string> names;
  for (const TensorToWrite& t : tensors)
    if (!names.insert(t.name).second) fail("{}: tensor '{}' is there twice", folder.string(), t.name);
  const auto shards = split_into_shards(tensors, max_shard_bytes);
  std::vector<fs::path> written;
  for (size_t i = 0; i < shards.size(); ++i) {
    const std::string name =
        shards.size() == 1 ? kSingle : fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards.size());
    written.push_back(folder / name);
    write_safetensors(written.back(), shards[i]);
  }
  if (shards.size() > 1) {
    const std::string text = index_text(shards, written);
    written.push_back(folder / kIndex);
    write_file(written.back(), text);
  }
  return written;
}

bool is_written_weights(const std::string& name) {
  const bool is_shard =
      name.starts_with("model-") && name.ends_with(".safetensors") && name.find("-of-") != std::string::npos;
  return is_shard || name == kSingle || name == kIndex || name == "adapter_config.json" ||
         name == "adapter_model.safetensors" || name == "base_model.json" || name == "adapter.safetensors" ||
         name == "model_head.safetensors" || name == "head_config.json";
}

}  // namespace graft::hub
