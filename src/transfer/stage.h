// Stages of a pipeline that are cached on disk: OUTPUT/stages/NAME-HASH, where HASH is of everything that the
// stage reads. The folder holds
//   key.json        what the stage is made from: sha256 of each input file, arguments, version
//   manifest.json   written last: size and sha256 of every file, and the key again
// A folder without manifest.json is a stage that was interrupted; the trainer's checkpoints in it go on.
#pragma once
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/json.h"

namespace graft::transfer {

struct Stage {
  std::string name;
  Json key;
  std::filesystem::path folder;
  bool complete = false;  // every file is as its manifest lists it
};

// The stage with this key, whose folder is created if need be. A complete one of which a file is missing or
// changed is removed, with a warning, and begun again.
Stage open_stage(const std::filesystem::path& root, const std::string& name, const Json& key);
// "true" where the stage holds a checkpoint to go on from, as --resume_from_checkpoint takes it; else "".
// Checkpoints that are damaged are removed with a warning where there is no other.
std::string resumption_of(const Stage& stage);
// Removes checkpoints and temporary files and writes the manifest.
void complete_stage(Stage& stage);

// Throws Error for an output folder that holds something else than stages, unless it may be overwritten, and
// for one that cannot be written.
void check_output(const std::filesystem::path& output, bool overwrite);
// The model of a stage becomes that of the output folder, together with `files`: text by name.
void publish_model(const std::filesystem::path& from, const std::filesystem::path& output,
                   const std::map<std::string, std::string>& files);

// sha256 by name of the files of a model's folder that a training may read: those of the folder itself and of
// sentence-transformers' modules.
Json model_fingerprint(const std::filesystem::path& folder);
// sha256 and format of data files, in their order. Their names do not matter.
Json files_fingerprint(const std::vector<std::filesystem::path>& files);

}  // namespace graft::transfer
