// A model as its folder: what save_pretrained writes, and weights that a training run reads back.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "models/adapter_folder.h"
#include "models/state.h"
#include "models/weights.h"

namespace graft::models {

// The files of a model. The weights are views of its parameters.
struct ModelToSave {
  Json config, generation_config;  // null: no such file
  WeightsToWrite weights;
  bool has_modules = false;  // a sentence encoder
  hub::SentenceTransformer modules;
  std::vector<WeightsToWrite> dense;  // of each feed-forward module
  Json generator_config;              // null: there is no generator
  WeightsToWrite generator;           // in its own folder, kGeneratorFolder
  AdapterToWrite adapter;             // with a config: in place of `weights`, the adapters of a base model
};

// `dtype` is the stored type: float32, float16 or bfloat16. Throws Error for another.
ModelToSave model_to_save(const State& state, const std::string& dtype = "float32");
// Replaces the files of the folder together, config.json last.
void write_model(const ModelToSave& model, const std::filesystem::path& folder);

// Reads back weights that write_model stored as float32, bit for bit. Every parameter must be there with its
// shape: throws Error naming the first that is not; the model is then unchanged.
void restore_weights(State& state, const std::filesystem::path& folder);

}  // namespace graft::models
