#include "data/cross_encoder.h"

#include "base/error.h"

namespace graft::data {

ScoreActivation score_activation(const Json& config, const std::string& origin) {
  const Json settings = config.value("sentence_transformers", Json());
  Json name = settings.is_object() ? settings.value("activation_fn", Json()) : Json();
  if (name.is_null()) name = config.value("sbert_ce_default_activation_function", Json());
  if (name.is_null()) return ScoreActivation::unnamed;
  const std::string text = name.is_string() ? name.get<std::string>() : name.dump();
  if (text.ends_with(".Sigmoid")) return ScoreActivation::sigmoid;
  if (text.ends_with(".Identity")) return ScoreActivation::identity;
  fail("{}: \"activation_fn\" {} is not implemented (Sigmoid and Identity are)", origin, text);
}

void set_sigmoid(Json& config) {
  Json settings = config.value("sentence_transformers", Json::object());
  if (!settings.is_object()) settings = Json::object();
  settings["activation_fn"] = "torch.nn.modules.activation.Sigmoid";
  config["sentence_transformers"] = std::move(settings);
}

}  // namespace graft::data
