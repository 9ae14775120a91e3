#include "transfer/carry_over.h"

#include <string>

#include "base/file.h"
#include "base/folder.h"
#include "base/json.h"
#include "hub/sentence_transformers.h"
#include "hub/state_dict.h"
#include "models/adapter_folder.h"
#include "models/registry.h"
#include "models/weights.h"

namespace graft::transfer {
namespace fs = std::filesystem;

namespace {

// The name in a folder of a class with a head, "" for a tensor that is none of the backbone's poolers.
std::string pooler_name(const models::Family& family, const std::string& tensor) {
  const std::string prefix = std::string(family.base_prefix) + ".", name = models::modern_name(tensor);
  const std::string full = name.starts_with(prefix) ? name : prefix + name;
  return full.starts_with(prefix + "pooler.") ? full : "";
}

void copy_modules(const fs::path& from, const fs::path& to) {
  for (const fs::path& path : list_folder(from)) {
    const fs::path name = path.filename();
    if (!hub::is_sentence_transformers_file(name.string()) || path_exists(to / name)) continue;
    if (!is_folder(path)) {
      write_file(to / name, read_file(path));
      continue;
    }
    make_folders(to / name);
    for (const fs::path& file : list_folder(path))
      if (!is_folder(file)) write_file(to / name / file.filename(), read_file(file));
  }
}

}  // namespace

void carry_over(const fs::path& from, const fs::path& to) {
  if (models::is_adapter_folder(to)) return;  // what is not trained stays in its base
  copy_modules(from, to);
  const models::ModelConfig config = models::ModelConfig::from_file(to / "config.json");
  const models::Family& family = models::find_family(config);
  const hub::StateDict old = hub::read_checkpoint(from), fresh = hub::read_checkpoint(to);
  std::vector<hub::TensorToWrite> tensors;
  for (const hub::TensorView& t : fresh.tensors())
    tensors.push_back({t.name, t.shape, t.dtype, nullptr, false, t.data});
  const size_t own = tensors.size();
  std::vector<std::vector<float>> values;
  for (const hub::TensorView& t : old.tensors()) {
    const std::string name = pooler_name(family, t.name);
    if (name.empty() || fresh.find(name) || fresh.find(models::other_backbone_name(family, name))) continue;
    values.emplace_back(static_cast<size_t>(t.num_elements()));
    hub::copy_to_float(t, values.back().data());
    tensors.push_back({name, t.shape, DType::f32, values.back().data()});
  }
  if (tensors.size() == own) return;
  StagedFiles staged(to);
  hub::write_checkpoint(staged.path(), tensors);
  write_json(staged.path() / "config.json", config.json());
  staged.publish("config.json", hub::is_written_weights);
}

}  // namespace graft::transfer
