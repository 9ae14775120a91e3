// The table of architectures and heads, one line each.
#pragma once
#include <string>
#include <vector>

#include "models/config.h"
#include "models/network.h"

namespace graft::models {

struct Architecture {
  const char* model_type;  // as in config.json
  const char* task;
  const char* class_name;   // as in config.json's "architectures"
  const char* base_prefix;  // of the backbone's tensors
  Network (*make)(engine::ParameterStore& store, const ModelConfig& config);
};

const std::vector<Architecture>& registry();

// The entry, or Error that lists the model types (or, for a known type, its tasks).
const Architecture& find_architecture(const ModelConfig& config, const std::string& task);

// Canonical task name: aliases resolved ("text-classification"); Error with the nearest name otherwise.
std::string canonical_task(const std::string& name);
// The task of the head in config.json's "architectures"; "" = none that graft implements.
std::string task_of_config(const ModelConfig& config);
// The head of config.json in words, for the message about another head: "config.json names BertModel
// (model_type "bert"), which is no head that graft has".
std::string head_in_words(const ModelConfig& config);

}  // namespace graft::models
