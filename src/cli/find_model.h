// A model by name, from a folder or the hub, with the download shown on stderr.
#pragma once
#include <filesystem>
#include <string>

namespace graft::cli {

// The folder of `name`; what is not there yet is downloaded.
std::filesystem::path find_model(const std::string& name);
// The newest files of a model on the hub, downloaded into the cache.
std::filesystem::path pull_newest(const std::string& name);

}  // namespace graft::cli
