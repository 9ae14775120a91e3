// Every key of config.json that the reference releases 4.57 and 5.24 write or read, and its treatment in
// graft.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "models/config.h"

namespace graft::models {

struct Family;

// Throws Error with file, key and value for a key that changes the computation and is not implemented. Logs
// one warning that lists the unknown keys. `from_scratch`: all weights are newly initialised.
void check_keys(const ModelConfig& config, bool from_scratch);

// Replaces alternative spellings that the reference accepts ("hidden_size" of a DistilBERT is "dim"). Throws
// Error if a config.json has both with different values.
void resolve_second_spellings(ModelConfig& config);

// The keys that are probabilities of dropout: of a family, or of all families (null), each once.
std::vector<std::string> dropout_keys(const Family* family = nullptr);
// Replaces values of them. Throws UsageError with the family's own for a key that it has not.
void override_dropout(ModelConfig& config, const std::vector<std::pair<std::string, double>>& values);

}  // namespace graft::models
