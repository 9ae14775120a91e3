// The files of AdapterHub's library beside adapter_config.json: the tensors of an adapter and of its head.
#pragma once
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "hub/state_dict.h"
#include "models/bottleneck_config.h"
#include "models/weights.h"

namespace graft::models {

// What graft writes. The library reads them with use_safetensors=True.
inline constexpr const char *kBottleneckTensors = "adapter.safetensors",
                            *kHeadTensors = "model_head.safetensors", *kHeadConfig = "head_config.json";

struct BottleneckFiles {
  hub::StateDict tensors;  // of adapter and head, under the names of the model's parameters
  std::string head_task;   // of head_config.json; "" for no head, or for one that graft does not have
  std::vector<std::string> head_labels;
};

// Throws Error naming file and tensor: no tensors, tensors of another adapter.
BottleneckFiles read_bottleneck_files(const std::filesystem::path& folder, const BottleneckConfig& config);

// The size of each bottleneck by the name of its `adapter_down` weight.
std::map<std::string, int64_t> bottleneck_sizes(const hub::StateDict& tensors,
                                                const BottleneckConfig& config);
// The other name that the library has for a parameter, "" for none: a file holds both.
std::string second_name_of_norm(const std::string& name, const BottleneckConfig& config);
// Whether a tensor or parameter of this name is part of a bottleneck adapter, or of its invertible adapter.
bool is_bottleneck_tensor(const std::string& name);
bool is_invertible_tensor(const std::string& name);

// adapter_config.json and head_config.json of a model; the latter null where no head is saved.
Json bottleneck_config_to_write(const State& state, const BottleneckConfig& config, const std::string& base,
                                const std::string& revision);
Json head_config_to_write(const State& state);

}  // namespace graft::models
