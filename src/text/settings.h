// The settings of tokenizer_config.json that change ids, and their types.
#pragma once
#include <string>

#include "base/json.h"

namespace graft::text {

// Throws Error with `where` (the file) and the key if the reference does not accept the value of a setting.
void check_settings(const Json& tokenizer_config, const std::string& where);
// The keys of config.json that select the tokenizer.
void check_model_settings(const Json& model_config, const std::string& where);

}  // namespace graft::text
