// A folder of adapters as peft writes it: adapter_config.json, adapter_model.safetensors (or .bin), and the
// name of the base model, whose folder is found and loaded. Or as AdapterHub's library writes it
// (bottleneck_folder.h).
#pragma once
#include <filesystem>
#include <string>

#include "hub/state_dict.h"
#include "models/adapter.h"
#include "models/config.h"
#include "models/weights.h"

namespace graft::models {

inline constexpr const char *kAdapterConfig = "adapter_config.json",
                            *kAdapterTensors = "adapter_model.safetensors", *kBaseModel = "base_model.json";

// What precedes the names of the model's parameters in peft's file: virtual tokens wrap no module.
const char* peft_prefix(const PeftConfig& config);

// True for a folder with adapter_config.json that holds no weights of a whole model.
bool is_adapter_folder(const std::filesystem::path& folder);

struct AdapterFolder {
  std::filesystem::path folder, base;  // `base`: the folder of the base model
  bool base_was_given = false;         // by the caller, not by the folder's config
  PeftConfig config;
  hub::StateDict tensors;  // with peft's prefixes taken off their names
  std::string head_task;   // of AdapterHub's head_config.json; "" where it has none
  std::vector<std::string> head_labels;
  const char* base_key() const { return config.base_key(); }
  std::string
      base_sha256;  // of base_model.json, which graft writes beside the adapter; "" where it is missing
  std::string language_sha256;  // likewise, of the language adapter below it
  // For a base that is not the one the adapter was made for.
  std::string hint_of_base() const;
};

// Finds the base by base_model_name_or_path: a folder (relative to the working directory or to `folder`, or
// beside `folder` under its last name), or a model of the hub. Throws Error if there is none. `base`: the
// folder of the base instead; throws Error if the adapter names another one and has no base_model.json.
AdapterFolder open_adapter(const std::filesystem::path& folder, const std::filesystem::path& base = {});

// The folders that a name in adapter_config.json may mean: beside `folder`, in the working directory, or
// moved with `folder`.
std::vector<std::filesystem::path> places_of_base(const std::filesystem::path& folder,
                                                  const std::filesystem::path& name);
inline constexpr size_t kPathLimit = 1000;  // of characters that a message shows

// Sets base_model_name_or_path: the hub's name of a folder in its cache, else the whole path. Throws Error
// for a model that came from no folder.
void name_base(PeftConfig& config, const std::filesystem::path& base);

// The folder's config.json; where it has none, as peft's, the base's with the task of adapter_config.json and
// as many labels as the head has outputs.
ModelConfig config_of_adapter(const AdapterFolder& adapter);
// The folder of the tokenizer and of other files: the adapter's own where it has them, else its base's. Any
// other folder is returned as it is. `base`: of the adapter, where it is known.
std::filesystem::path tokenizer_folder(const std::filesystem::path& folder,
                                       const std::filesystem::path& base = {});

// The tensors of the base that the adapter does not replace.
hub::StateDict base_tensors(const AdapterFolder& adapter, const hub::StateDict& base);
// Gives a model with the base's weights the folder's adapters and the modules that were trained with them.
// Throws Error for an adapter of another model. `new_head`: a head of another shape stays new.
void load_adapter(State& state, const AdapterFolder& adapter, bool new_head = false);

// The parts of load_adapter. Declares the adapters that the folder has tensors of, in the model's open store.
void declare_adapters(State& state, const AdapterFolder& adapter);
// Fills the declared parameters of bottleneck adapters. Throws Error for tensors without a place, of another
// shape, and for missing ones.
void load_bottlenecks(State& state, const AdapterFolder& adapter);
// Throws Error if the adapter was trained on other weights than those of this base_sha256.
void check_base(const AdapterFolder& adapter, const std::string& base_sha256);

// The base in memory with the folder's adapters: the same as Model::from_pretrained of the folder, to the
// bit, but its parameters are those of `base` where the adapter does not replace them. `adapter` was opened
// with the folder of `base`. Such a model computes, and is neither trained nor merged.
Model load_over(const Model& base, const AdapterFolder& adapter, const ModelOptions& options);

// What load_adapter reads: the tensors under peft's names, adapter_config.json and base_model.json.
struct AdapterToWrite {
  WeightsToWrite tensors, head;  // `head`: of AdapterHub's folders, which have a file of its own for it
  Json config, head_config, base_model;  // null: no such file
};
AdapterToWrite adapter_to_write(const State& state, DType dtype);
void write_adapter(const std::filesystem::path& folder, const AdapterToWrite& adapter);
// Reads the values back that write_adapter stored as float32, bit for bit; the model is unchanged if one is
// missing.
void restore_adapter(State& state, const std::filesystem::path& folder);

}  // namespace graft::models
