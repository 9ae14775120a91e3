// A model by name, from a folder or the hub, with the download shown on stderr.
#pragma once
#include <filesystem>
#include <string>

namespace graft::cli {

// The folder of model `name`, downloaded if it is not in the cache.
std::filesystem::path find_model(const std::string& name);
// The newest files of a model on the hub, downloaded into the cache.
std::filesystem::path pull_newest(const std::string& name);

}  // namespace graft::cli
