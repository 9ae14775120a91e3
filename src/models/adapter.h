// The adapters of a model (peft_config.h): which matrices have one, what is trained and saved with them, and
// their products in the weights.
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "engine/parameters.h"
#include "models/peft_config.h"

namespace graft::models {

struct State;

struct ModelAdapter {
  PeftConfig config;
  std::vector<engine::Parameter*> matrices;  // that have an adapter, in the order of the parameters
  std::string base_sha256;                   // of the model below the adapters (base_sha256)
  // Initialisation by singular values (PiSSA, Meng et al. 2024): the product of b [out, rank] and a [rank,
  // in] that was taken out of a matrix.
  struct Product {
    std::vector<float> a, b;
  };
  std::map<const engine::Parameter*, Product> taken_out;
  // While the adapters are merged into the weights: what each matrix had, and the factors of its rows (DoRA).
  struct Merged {
    engine::Adapter adapter;
    std::vector<float> row_factors;
  };
  std::map<engine::Parameter*, Merged> merged;
};

// Below a model's own adapters (models/language_adapter.h).
struct LanguageAdapter {
  std::filesystem::path folder;
  std::string sha256;  // of its values
};

// The module of a matrix, as peft names it: "bert.encoder.layer.0.attention.self.query".
std::string module_name(const State& state, const engine::Parameter& matrix);

// The number of the layer that a parameter or module is in; -1 outside of the layers.
int64_t layer_of(const State& state, const std::string& name);

// Gives a loaded model the adapters that `config` selects, initialised as peft does; all other parameters but
// those of the head, of new parts and of modules_to_save are frozen. Throws UsageError that names an option
// of training for names without a match and for a rank above a matrix's. `prompt_ids`: the tokens whose
// embeddings virtual tokens start from; none: random values.
void add_adapter(State& state, PeftConfig config, uint64_t seed, const std::vector<int32_t>& prompt_ids = {});

// The matrices of the backbone's linear layers by the names of their modules.
std::map<std::string, engine::Parameter*> adaptable_matrices(State& state);

// Marks what is trained and saved beside the adapters: the head, what the checkpoint did not have, and
// modules that `config` names.
void mark_saved_modules(State& state, PeftConfig& config);

// SHA-256 of a parameter's name, shape and values.
std::string parameter_sha256(const State& state, const engine::Parameter& p);
// SHA-256 of the backbone's parameters that belong to no adapter and are not saved with one, without the
// pooler, which not every head has.
std::string base_sha256(const State& state);

// Adds the adapters' products to the weights, or takes them off again. A merged model computes the same, is
// saved as a whole one, and cannot be trained.
void merge_adapter(State& state);
void unmerge_adapter(State& state);
// Throws Error for a model with bottleneck adapters or virtual tokens, which have no product of weights.
// `what`: "merged into the weights".
void refuse_without_product(const State& state, const char* what);
// w [rows, cols] of a matrix += factor * b a, each element in double.
void add_product(const State& state, const engine::Parameter& matrix, const engine::Adapter& adapter,
                 double factor, float* w);
// Copies the values of a parameter to `out` as merge_adapter would leave them.
void copy_merged(const State& state, const engine::Parameter& parameter, float* out);

}  // namespace graft::models
