// Every key of config.json that the reference releases 4.57 and 5.24 write or read, and what it means here.
#pragma once
#include "models/config.h"

namespace graft::models {

// Error naming file, key and value for what changes the computation and is not implemented. Logs one warning
// that lists the keys that are not known. `from_scratch`: weights are to be initialised.
void check_keys(const ModelConfig& config, bool from_scratch);

// Rewrites the second spellings that the reference accepts ("hidden_size" of a DistilBERT is "dim"). Error
// where a config.json has both with different values.
void resolve_second_spellings(ModelConfig& config);

}  // namespace graft::models
