// Copies the tensors of a checkpoint to a model's parameters and back, and reports tensors that do not fit.
#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "hub/state_dict.h"
#include "models/state.h"

namespace graft::models {

// A tensor's name as today's checkpoints spell it (gamma -> weight, beta -> bias of a LayerNorm).
std::string modern_name(const std::string& name);

// Fills the parameters. The backbone must be complete (a pooler may be missing); a head that is missing
// is initialised from `seed`. Throws Error naming tensor and shapes.
void load_weights(State& state, const hub::StateDict& tensors, const ModelOptions& options);
// Initialises every parameter, or one, as the reference's _init_weights does, each a function of (seed,
// name).
void initialize_weights(State& state, uint64_t seed);
void initialize_parameter(State& state, const engine::Parameter& parameter, uint64_t seed);

// The name of a parameter's tensor in a file.
std::string saved_name(const State& state, const engine::Parameter& p);
// Whether its tensor lies in a file of its own: a feed-forward module of a sentence encoder.
bool is_separate_module(const engine::Parameter& p);

// The feed-forward modules of a sentence encoder, each from the subfolder that modules.json names.
void load_dense_modules(State& state);

// Fills the parameters from another model of the same family. Where the vocabularies differ, rows that only
// the new one has are the mean of the old ones. Parameters that the other model lacks are initialised.
void copy_weights(State& state, const State& from, const ModelOptions& options);

// A parameter's shape in a checkpoint, and the values of a tensor that has this shape.
std::vector<int64_t> stored_shape(const engine::Parameter& p);
void load_values(const hub::TensorView& t, const engine::Parameter& p, float* out);

// The first value that is not finite, in the order of the parameters; none where all are finite. Reads
// every weight: for the message of an error that has occurred, not for loading.
struct NonFinite {
  std::string parameter;
  int64_t index = 0;  // of the value in the flattened tensor
  float value = 0;
};
std::optional<NonFinite> first_non_finite(const State& state);

// The parameters in their order, for hub::write_checkpoint, to be stored as `dtype`.
struct WeightsToWrite {
  std::vector<engine::HostRead> values;  // what the tensors point to
  std::vector<std::vector<float>> made;  // likewise, of tensors that are no parameters
  std::vector<hub::TensorToWrite> tensors;
};
WeightsToWrite tensors_to_write(const State& state, DType dtype);
// Those of feed-forward module i of a sentence encoder.
WeightsToWrite dense_tensors_to_write(const State& state, size_t i, DType dtype);

}  // namespace graft::models
