#include "capi/generate.h"

#include "base/error.h"
#include "base/json.h"
#include "generate/settings.h"

namespace graft {

std::string generate_from_json(const TextGenerationPipeline& pipeline, const std::string& prompt,
                               const std::string& options) {
  constexpr const char* kOrigin = "the options of the generation";
  const Json given = parse_json(options, kOrigin);
  if (!given.is_object()) fail("{}: a JSON object was expected", kOrigin);
  const auto found =
      pipeline.generate({prompt}, generate::change_settings(pipeline.generation_options(), given, kOrigin));
  return found.front().front().text;
}

}  // namespace graft
