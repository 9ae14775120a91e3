#include "transfer/stage.h"

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "base/folder.h"
#include "base/log.h"
#include "base/version.h"
#include "data/rows.h"
#include "hub/sentence_transformers.h"
#include "hub/sha256.h"
#include "hub/state_dict.h"
#include "models/generator.h"
#include "train/manifest.h"
#include "train/output.h"

namespace graft::transfer {
namespace fs = std::filesystem;

namespace {

constexpr int kStageFormat = 1;  // of the folders, and of what the stages make of their inputs

// What is wrong with a stage that has a manifest; "" = nothing.
std::string complaint_of_stage(const fs::path& folder, const Json& key) try {
  const Json manifest = train::verified_manifest(folder);
  return manifest.at("run") == key ? "" : "manifest.json is that of another stage";
} catch (const Error& e) {
  return e.what();
}

bool same_key(const fs::path& folder, const Json& key) try {
  return read_json(folder / "key.json") == key;
} catch (const Error&) {  // absent, or cut by a crash
  return false;
}

}  // namespace

Stage open_stage(const fs::path& root, const std::string& name, const Json& inputs) {
  Stage stage;
  stage.name = name;
  stage.key = {{"format", kStageFormat}, {"graft", kVersion}, {"stage", name}};
  stage.key.update(inputs);
  const std::string hash = hub::sha256_of(stage.key.dump());
  constexpr size_t kDigits = 16;  // key.json is compared as a whole
  stage.folder = root / fmt::format("{}-{}", name, hash.substr(0, kDigits));
  if (path_exists(stage.folder / "manifest.json")) {
    const std::string complaint = complaint_of_stage(stage.folder, stage.key);
    stage.complete = complaint.empty();
    if (stage.complete) return stage;
    log_warning("{}: the cached stage is damaged and is computed again: {}", stage.folder.string(),
                complaint);
    remove_tree(stage.folder);
  } else if (path_exists(stage.folder) && !same_key(stage.folder, stage.key)) {
    log_warning("{}: the stage has no whole key.json and is computed again", stage.folder.string());
    remove_tree(stage.folder);
  } else if (path_exists(stage.folder) && list_folder(stage.folder).size() > 1) {
    log_info("stage {}: {} has no manifest.json: an earlier run did not end it, and it is taken up again",
             name, stage.folder.string());
  }
  make_folders(stage.folder);
  write_json(stage.folder / "key.json", stage.key);
  return stage;
}

void check_output(const fs::path& output, bool overwrite) {
  const bool ours = path_exists(output / "stages");
  if (is_folder(output) && !list_folder(output).empty() && !ours && !overwrite)
    fail_with("choose another --output_dir, or give --overwrite_output_dir true",
              "{}: the output folder is not empty and holds no stages; nothing was written", output.string());
  train::prepare_output(output);
}

void publish_model(const fs::path& from, const fs::path& output,
                   const std::map<std::string, std::string>& files) {
  const auto copy = [](const fs::path& file, const fs::path& to) { write_file(to, MappedFile(file).text()); };
  StagedFiles staged(output);
  for (const fs::path& path : list_folder(from)) {
    const std::string name = path.filename().string();
    if (name == "key.json" || name == "manifest.json" || name == "stage.json" || name == "LOCK") continue;
    if (!is_folder(path)) {
      copy(path, staged.path() / name);
      continue;
    }
    if (!hub::is_sentence_transformers_file(name) && name != models::kGeneratorFolder) continue;
    make_folders(staged.path() / name);
    for (const fs::path& file : list_folder(path))
      if (!is_folder(file)) copy(file, staged.path() / name / file.filename());
  }
  for (const auto& [name, text] : files) write_file(staged.path() / name, text);
  staged.publish("config.json", [](const std::string& name) {
    return hub::is_written_weights(name) || hub::is_sentence_transformers_file(name);
  });
}

std::string resumption_of(const Stage& stage) {
  std::vector<fs::path> damaged;
  for (const fs::path& path : list_folder(stage.folder)) {
    if (!is_folder(path) || !path.filename().string().starts_with("checkpoint-")) continue;
    try {
      train::verified_manifest(path);
      return "true";
    } catch (const Error& e) {
      log_warning("{} is removed: {}", path.string(), e.what());
      damaged.push_back(path);
    }
  }
  for (const fs::path& path : damaged) remove_tree(path);
  if (!damaged.empty()) log_warning("stage {} is begun again: it has no other checkpoint", stage.name);
  return "";
}

void complete_stage(Stage& stage) {
  for (const fs::path& path : list_folder(stage.folder)) {
    const std::string name = path.filename().string();
    if (is_folder(path) && (name.starts_with("checkpoint-") || name.starts_with("tmp-") || name == "best"))
      remove_tree(path);
    if (name.ends_with(".tmp")) remove_tree(path);
  }
  train::write_manifest(stage.folder, 0, stage.key);
  stage.complete = true;
}

Json model_fingerprint(const fs::path& folder) {
  static const std::vector<std::string> own = {"LOCK",
                                               "key.json",
                                               "manifest.json",
                                               "stage.json",
                                               "trainer_state.json",
                                               "training_args.json",
                                               "all_results.json",
                                               "README.md",
                                               ".gitattributes"};
  Json files = Json::object();
  for (const fs::path& path : list_folder(folder)) {
    const std::string name = path.filename().string();
    if (!is_folder(path)) {
      if (std::find(own.begin(), own.end(), name) == own.end()) files[name] = hub::sha256_of_file(path);
      continue;
    }
    if (!hub::is_sentence_transformers_file(name)) continue;
    for (const fs::path& file : list_folder(path))
      if (!is_folder(file)) files[name + "/" + file.filename().string()] = hub::sha256_of_file(file);
  }
  return files;
}

Json files_fingerprint(const std::vector<fs::path>& files) {
  Json out = Json::array();
  for (const fs::path& file : files)
    out.push_back({{"sha256", hub::sha256_of_file(file)},
                   {"format", data::extension_of_rows(file)},
                   {"packed", file.extension().string()}});
  return out;
}

}  // namespace graft::transfer
