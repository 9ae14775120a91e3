// A model made of some parts of another one: some of its layers, some rows of its vocabulary.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "graft/model.h"
#include "models/state.h"

namespace graft::models {

// Ascending indices of what stays; empty: everything.
struct Selection {
  std::vector<int64_t> layers, decoder_layers;
  std::vector<int32_t> rows;  // of the vocabulary
};

// The layers of the model, or of its encoder.
int64_t num_layers(const State& state);
int64_t num_decoder_layers(const State& state);  // 0 = there is no decoder of its own
// `count` layers of `total`, evenly spread, the first and the last one among them (as DistilBERT chose its
// six, Sanh et al. 2019).
std::vector<int64_t> spread_layers(int64_t count, int64_t total);
// The ids that config.json and generation_config.json name ("pad_token_id"), and those below the padding id
// where it decides the numbers of positions (RoBERTa).
std::vector<int32_t> fixed_ids(const State& state);

// A new model with copies of these parts; layers, tensors and ids are renumbered. Throws Error for an index
// that the model does not have, and for layers that cannot be taken apart.
Model select_parts(const Model& model, const Selection& selection);

// A second model of the family and head with another config: its parameters are allocated and not yet set.
std::shared_ptr<State> rebuild(const State& from, ModelConfig config);

}  // namespace graft::models
