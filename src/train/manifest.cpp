#include "train/manifest.h"

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "base/folder.h"
#include "base/version.h"
#include "hub/sha256.h"

namespace graft::train {
namespace fs = std::filesystem;

namespace {

constexpr const char* kManifest = "manifest.json";

// The paths of all files below `folder`, relative to it, sorted.
std::vector<std::string> files_below(const fs::path& folder, const std::string& prefix = "") {
  std::vector<std::string> files;
  for (const fs::path& path : list_folder(folder)) {
    const std::string name = prefix + path.filename().string();
    if (!is_folder(path)) {
      if (name != kManifest) files.push_back(name);
      continue;
    }
    const std::vector<std::string> more = files_below(path, name + "/");
    files.insert(files.end(), more.begin(), more.end());
  }
  return files;
}

// A path that stays inside the folder.
bool is_inside(const fs::path& name) {
  return name.is_relative() &&
         std::none_of(name.begin(), name.end(), [](const fs::path& p) { return p == ".."; });
}

void check_file(const fs::path& folder, const std::string& name, const Json& recorded) {
  const fs::path file = folder / name;
  const auto size = recorded.at("size").get<uint64_t>();
  const auto sha256 = recorded.at("sha256").get<std::string>();
  if (!is_inside(name))
    fail("{}: names the file {} outside of the folder", (folder / kManifest).string(), name);
  if (!path_exists(file)) fail("{}: is missing, and the manifest lists it", file.string());
  const MappedFile mapped(file);
  if (mapped.size() != size)
    fail("{}: has {} bytes, and the manifest lists {}", file.string(), mapped.size(), size);
  if (const std::string found = hub::sha256_of_file(file); found != sha256)
    fail("{}: has the sha256 {}, and the manifest lists {}", file.string(), found, sha256);
}

}  // namespace

void write_manifest(const fs::path& folder, int64_t step, const Json& run) {
  Json files = Json::object();
  for (const std::string& name : files_below(folder))
    files[name] = {{"size", MappedFile(folder / name).size()},
                   {"sha256", hub::sha256_of_file(folder / name)}};
  write_json(folder / kManifest, {{"format", kCheckpointFormat},
                                  {"graft", kVersion},
                                  {"global_step", step},
                                  {"files", files},
                                  {"run", run}});
}

Json verified_manifest(const fs::path& folder) {
  const fs::path file = folder / kManifest;
  if (!path_exists(file))
    fail("{}: is missing: the checkpoint is incomplete, or an earlier version of graft wrote it",
         file.string());
  Json manifest = read_json(file);
  try {
    if (const auto format = manifest.at("format").get<int64_t>(); format != kCheckpointFormat)
      fail_with("resume it with the version of graft that wrote it",
                "{}: has format {}; this version reads {}", file.string(), format, kCheckpointFormat);
    const Json& files = manifest.at("files");
    for (const auto& [name, recorded] : files.items()) check_file(folder, name, recorded);
    for (const std::string& name :
         files_below(folder))  // weights that would be read instead of the listed ones
      if (!files.contains(name) &&
          (name.ends_with(".safetensors") || name.ends_with(".bin") || name.ends_with(".index.json")))
        fail("{}: is not in the manifest", (folder / name).string());
  } catch (const JsonError& e) {
    fail("{}: {}", file.string(), e.what());
  }
  return manifest;
}

}  // namespace graft::train
