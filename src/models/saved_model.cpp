#include "models/saved_model.h"

#include <fmt/ranges.h>

#include <map>
#include <utility>

#include "base/error.h"
#include "base/folder.h"
#include "models/adapter_folder.h"

namespace graft::models {
namespace fs = std::filesystem;

namespace {

std::string dense_folder(size_t i) { return fmt::format("{}_Dense", 2 + i); }

void check_stored(const hub::StateDict& dict, const WeightsToWrite& weights, const fs::path& folder) {
  for (const hub::TensorToWrite& t : weights.tensors) {
    const hub::TensorView* stored = dict.find(t.name);
    if (!stored) fail("{}: the tensor {} of this model is missing", folder.string(), t.name);
    if (stored->shape != t.shape)
      fail("{}: tensor {} is [{}] and this model has [{}]", folder.string(), t.name,
           fmt::join(stored->shape, ", "), fmt::join(t.shape, ", "));
    if (stored->dtype != DType::f32)
      fail("{}: tensor {} is {}; a run continues from F32 alone", folder.string(), t.name,
           dtype_name(stored->dtype));
  }
}

// `dtype` is the name since 4.56 and wins where both stand; earlier releases read `torch_dtype` alone, so
// that is what a file without either gets.
void set_dtype(Json& config, const std::string& dtype) {
  const bool has_new_name = config.contains("dtype");
  if (has_new_name) config["dtype"] = dtype;
  if (!has_new_name || config.contains("torch_dtype")) config["torch_dtype"] = dtype;
}

WeightsToWrite generator_tensors(const State& state, DType dtype) {
  WeightsToWrite out;
  for (const auto& [name, p] : state.generator->tensors) {
    out.values.push_back(state.parameters.read_value(*p));
    out.tensors.push_back({name, stored_shape(*p), dtype, out.values.back().data(), p->stored_transposed});
  }
  return out;
}

// Those of the model itself are read with its own tensors.
void load_generator_tensors(State& state, const hub::StateDict& dict) {
  for (const auto& [name, p] : state.generator->tensors)
    if (p->of_generator) load_values(*dict.find(name), *p, state.parameters.write_value(*p).data());
  state.parameters.touch_values();
}

}  // namespace

ModelToSave model_to_save(const State& state, const std::string& dtype) {
  static const std::map<std::string, DType> dtypes = {
      {"float32", DType::f32}, {"float16", DType::f16}, {"bfloat16", DType::bf16}};
  const auto stored = dtypes.find(dtype);
  if (stored == dtypes.end())
    fail_with("weights are stored as float32, float16 or bfloat16", "{}: no such dtype to store", dtype);
  if (state.language && !state.saves_adapter()) refuse_without_product(state, "saved");
  ModelToSave out;
  out.config = state.config.json();
  set_dtype(out.config, dtype);
  if (state.family->saved_form) state.family->saved_form(out.config);
  out.generation_config = state.generation_config;
  if (state.saves_adapter()) {
    out.adapter = adapter_to_write(state, stored->second);
  } else {
    out.weights = tensors_to_write(state, stored->second);
  }
  if (state.generator) {
    out.generator_config = state.generator->config.json();
    set_dtype(out.generator_config, dtype);
    out.generator = generator_tensors(state, stored->second);
  }
  out.has_modules = state.head->is_bare;
  if (!out.has_modules) return out;
  out.modules = state.config.modules;
  out.modules.embedding_dimension = state.config.size_or(state.family->sizes.hidden_size, 0);
  for (size_t i = 0; i < out.modules.dense.size(); ++i) {
    out.modules.dense[i].path = dense_folder(i);
    out.dense.push_back(dense_tensors_to_write(state, i, stored->second));
  }
  return out;
}

void write_model(const ModelToSave& model, const fs::path& folder) {
  StagedFiles staged(folder);
  if (model.adapter.config.is_null())
    hub::write_checkpoint(staged.path(), model.weights.tensors);
  else
    write_adapter(staged.path(), model.adapter);
  write_json(staged.path() / "config.json", model.config);
  if (!model.generator_config.is_null()) {
    const fs::path generator = staged.path() / kGeneratorFolder;
    make_folders(generator);
    hub::write_checkpoint(generator, model.generator.tensors);
    write_json(generator / "config.json", model.generator_config);
  }
  if (!model.generation_config.is_null())
    write_json(staged.path() / "generation_config.json", model.generation_config);
  if (model.has_modules) {
    hub::write_sentence_transformer(staged.path(), model.modules);
    for (size_t i = 0; i < model.dense.size(); ++i)
      hub::write_checkpoint(staged.path() / dense_folder(i), model.dense[i].tensors);
  }
  staged.publish("config.json", [](const std::string& name) {
    return hub::is_written_weights(name) || hub::is_sentence_transformers_file(name);
  });
}

void restore_weights(State& state, const fs::path& folder) {
  hub::StateDict dict;
  if (!state.saves_adapter()) {
    dict = hub::read_checkpoint(folder);
    check_stored(dict, tensors_to_write(state, DType::f32), folder);
  }
  hub::StateDict generator;
  if (state.generator) {
    generator = hub::read_checkpoint(folder / kGeneratorFolder);
    check_stored(generator, generator_tensors(state, DType::f32), folder / kGeneratorFolder);
  }
  const size_t num_dense = state.head->is_bare ? state.config.modules.dense.size() : 0;
  for (size_t i = 0; i < num_dense; ++i) {
    const fs::path dense = folder / dense_folder(i);
    check_stored(hub::read_checkpoint(dense), dense_tensors_to_write(state, i, DType::f32), dense);
  }
  const LoadReport report = state.report;  // of the model's own loading
  if (state.saves_adapter())
    restore_adapter(state, folder);
  else
    load_weights(state, dict, {});
  if (state.generator) load_generator_tensors(state, generator);
  if (num_dense > 0) {
    const hub::SentenceTransformer modules = state.config.modules;
    state.config.modules.folder = folder;
    for (size_t i = 0; i < num_dense; ++i) state.config.modules.dense[i].path = dense_folder(i);
    load_dense_modules(state);
    state.config.modules = modules;
  }
  state.report = report;
}

}  // namespace graft::models
