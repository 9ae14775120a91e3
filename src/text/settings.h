// The settings of tokenizer_config.json that decide what a text becomes, and their types.
#pragma once
#include <string>

#include "base/json.h"

namespace graft::text {

// Throws Error naming `where` (the file) and the key when a setting has a value that the reference does not
// take.
void check_settings(const Json& tokenizer_config, const std::string& where);
// The keys of config.json that the tokenizer is chosen by.
void check_model_settings(const Json& model_config, const std::string& where);

}  // namespace graft::text
