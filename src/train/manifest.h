// manifest.json of a checkpoint: every file with its size and sha256, and what the run was.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>

#include "base/json.h"

namespace graft::train {

inline constexpr int64_t kCheckpointFormat = 1;

// Hashes all files below `folder` and writes its manifest.json, the last file of a checkpoint. `run`: what
// the run was (run_record.h).
void write_manifest(const std::filesystem::path& folder, int64_t step, const Json& run);

// Reads manifest.json and compares every file with it. Throws Error that names the first file that is
// missing, has another size or another sha256, leads out of the folder, or holds weights and is not listed.
Json verified_manifest(const std::filesystem::path& folder);

}  // namespace graft::train
