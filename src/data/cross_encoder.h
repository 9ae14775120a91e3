// The sigmoid convention of sentence-transformers' CrossEncoder: what a config.json with one output says
// about its score.
#pragma once
#include "base/json.h"

namespace graft::data {

enum class ScoreActivation : uint8_t { unnamed, identity, sigmoid };

// Of "sentence_transformers": {"activation_fn": ...}, or the key of releases before 4. Throws Error with
// `origin` for another function.
ScoreActivation score_activation(const Json& config, const std::string& origin);
// Writes that the score is the sigmoid of the output.
void set_sigmoid(Json& config);

}  // namespace graft::data
