// Generation of the C interface with the types of C++.
#pragma once
#include <string>

#include "graft/text_generation.h"

namespace graft {

// `options`: a JSON object as in generation_config.json, over the settings of the pipeline. Throws Error, for
// an unknown key, too.
std::string generate_from_json(const TextGenerationPipeline& pipeline, const std::string& prompt,
                               const std::string& options);

}  // namespace graft
