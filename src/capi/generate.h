// graft_generate with the types of C++.
#pragma once
#include <string>

namespace graft {

// `options`: a JSON object as in generation_config.json, over the folder's settings. Throws Error.
std::string generate_from_json(const std::string& folder, const std::string& prompt,
                               const std::string& options);

}  // namespace graft
