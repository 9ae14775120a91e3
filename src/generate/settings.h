// Reads generation_config.json, and checks settings against each other.
#pragma once
#include <filesystem>

#include "base/json.h"
#include "graft/generation_options.h"

namespace graft::generate {

// The settings of a generation_config.json; `config` (config.json) has the tokens of a folder without one.
// Throws Error with the file, the key and the value for settings that graft does not implement and for
// values of a wrong kind. Logs one warning that lists unknown keys.
GenerationOptions read_settings(const Json& file, const Json& config, const std::string& origin);
// `options` changed by the keys of `given`, which may be those of generation_config.json and "seed". Throws
// Error for an unknown key, too.
GenerationOptions change_settings(GenerationOptions options, const Json& given, const std::string& origin);
// Where max_length alone is given, it has precedence over the max_new_tokens of a folder.
void prefer_max_length(GenerationOptions& options, bool length_given, bool new_tokens_given);
// The settings that differ from the defaults, as generation_config.json has them.
Json to_json(const GenerationOptions& options);

// Throws UsageError that names the options for values out of range and for settings that contradict each
// other.
void check(const GenerationOptions& options);

}  // namespace graft::generate
