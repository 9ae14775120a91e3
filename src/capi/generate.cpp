#include "capi/generate.h"

#include "base/error.h"
#include "base/json.h"
#include "generate/settings.h"
#include "graft/hub.h"
#include "graft/text_generation.h"

namespace graft {

std::string generate_from_json(const std::string& folder, const std::string& prompt,
                               const std::string& options) {
  const Json given = parse_json(options, "the options of graft_generate");
  if (!given.is_object()) fail("the options of graft_generate: a JSON object was expected");
  const TextGenerationPipeline pipeline(resolve_model(folder));
  Json all = generate::to_json(pipeline.generation_options());
  for (const auto& [key, value] : given.items()) all[key] = value;
  const auto found =
      pipeline.generate({prompt}, generate::read_settings(all, Json(), "the options of graft_generate"));
  return found.front().front().text;
}

}  // namespace graft
