#include "models/peft_config.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.h"
#include "base/shown.h"
#include "engine/glob.h"

namespace graft::models {
namespace {

constexpr std::array<std::pair<const char*, const char*>, 7> kPeftTasks = {
    {{"sequence-classification", "SEQ_CLS"},
     {"token-classification", "TOKEN_CLS"},
     {"question-answering", "QUESTION_ANS"},
     {"causal-lm", "CAUSAL_LM"},
     {"seq2seq-lm", "SEQ_2_SEQ_LM"},
     {"sentence-embedding", "FEATURE_EXTRACTION"},
     {"multiple-choice", ""}}};

std::vector<std::string> texts(const Json& json, const char* key, const std::string& origin) {
  const auto it = json.find(key);
  if (it == json.end() || it->is_null()) return {};
  if (it->is_string()) return {it->get<std::string>()};  // a regular expression, or one name
  if (!it->is_array()) fail("{}: \"{}\" must be a list of names, not {}", origin, key, shown(it->dump()));
  return it->get<std::vector<std::string>>();
}

// One number or a list of them.
std::vector<int64_t> layers(const Json& json, const std::string& origin) {
  const auto it = json.find("layers_to_transform");
  if (it == json.end() || it->is_null()) return {};
  if (it->is_number_integer()) return {it->get<int64_t>()};
  if (!it->is_array())
    fail("{}: \"layers_to_transform\" must be a list of numbers, not {}", origin, shown(it->dump()));
  return it->get<std::vector<int64_t>>();
}

std::map<std::string, double> numbers(const Json& json, const char* key, const std::string& origin) {
  std::map<std::string, double> out;
  const auto it = json.find(key);
  if (it == json.end() || it->is_null()) return out;
  for (const auto& [name, value] : it->items()) {
    if (name.find_first_of("*+?^$()[]|\\") != std::string::npos)
      fail_with("write the names of the modules",
                "{}: \"{}\" has the regular expression \"{}\"; graft reads names of modules", origin, key,
                shown(name));
    out[name] = value.get<double>();
  }
  return out;
}

std::string text_or_empty(const Json& json, const char* key, const std::string& origin) {
  const auto it = json.find(key);
  if (it == json.end() || it->is_null()) return "";
  if (!it->is_string()) fail("{}: \"{}\" must be a text, not {}", origin, key, shown(it->dump()));
  return it->get<std::string>();
}

// Settings of peft that change what an adapter computes and that graft does not have.
void refuse_other_settings(const Json& json, const std::string& origin) {
  for (const char* key :
       {"alora_invocation_tokens", "layer_replication", "target_parameters", "trainable_token_indices",
        "megatron_config", "use_bdlora", "use_qalora", "lora_bias", "arrow_config"}) {
    const auto it = json.find(key);
    if (it == json.end() || it->is_null() || *it == Json(false) || it->empty()) continue;
    fail_with("merge it into its base model in Python (merge_and_unload) and save that",
              "{}: \"{}\" is {}, which graft does not implement", origin, key, shown(it->dump()));
  }
}

void read_lora(PeftConfig& c, const Json& json, const std::string& origin) {
  refuse_other_settings(json, origin);
  c.r = json.value("r", c.r);
  if (c.r < 1) fail("{}: \"r\" is {}; a rank is 1 or more", origin, c.r);
  c.lora_alpha = json.value("lora_alpha", c.lora_alpha);
  if (!std::isfinite(c.lora_alpha)) fail("{}: \"lora_alpha\" is no finite number", origin);
  c.lora_dropout = json.value("lora_dropout", 0.0);
  if (!(c.lora_dropout >= 0 && c.lora_dropout < 1))
    fail("{}: \"lora_dropout\" is {}; it must be from 0 to below 1", origin, c.lora_dropout);
  c.use_rslora = json.value("use_rslora", false);
  c.use_dora = json.value("use_dora", false);
  c.rank_pattern = numbers(json, "rank_pattern", origin);
  c.alpha_pattern = numbers(json, "alpha_pattern", origin);
  // An adapter whose base was changed when it was made: the file of the adapter alone does not give the
  // model.
  const auto init = json.find("init_lora_weights");
  const std::string how = init != json.end() && init->is_string() ? init->get<std::string>() : "";
  for (const char* changes : {"pissa", "olora", "corda", "loftq"}) {
    if (!how.starts_with(changes)) continue;
    fail_with(
        "save it in Python with path_initial_model_for_weight_conversion, which makes it a plain LoRA",
        "{}: \"init_lora_weights\" is \"{}\": the adapter belongs to a base model that was changed when "
        "it was made",
        origin, shown(how));
  }
}

PeftConfig config_of_bottleneck(const Json& json, const std::string& origin) {
  PeftConfig c;
  c.peft_type = PeftType::bottleneck;
  c.bottleneck = BottleneckConfig::read(json, origin);
  c.base_model_name_or_path = text_or_empty(json, c.base_key(), origin);
  c.revision = text_or_empty(json, "revision", origin);
  return c;
}

Json list_or_null(const std::vector<std::string>& names) { return names.empty() ? Json() : Json(names); }

Json text_or_null(const std::string& text) { return text.empty() ? Json() : Json(text); }

}  // namespace

PeftConfig PeftConfig::from_file(const std::filesystem::path& file) try {
  const Json json = read_json(file);
  const std::string origin = file.string();
  if (!json.is_object()) fail("{}: must be a json object", origin);
  if (is_bottleneck_file(json)) return config_of_bottleneck(json, origin);
  PeftConfig c;
  const std::string type = text_or_empty(json, "peft_type", origin);
  if (type == "IA3") {
    c.peft_type = PeftType::ia3;
    c.feedforward_modules = texts(json, "feedforward_modules", origin);
  } else if (type == "LORA") {
    read_lora(c, json, origin);
  } else if (type == "PROMPT_TUNING" || type == "PREFIX_TUNING") {
    const bool prefix = type == "PREFIX_TUNING";
    c.peft_type = prefix ? PeftType::prefix_tuning : PeftType::prompt_tuning;
    c.prompt = PromptConfig::read(json, origin, prefix);
  } else {
    fail_with(
        "use it with peft in Python; where its method has a merge (merge_and_unload), save the merged model",
        "{}: \"peft_type\" is \"{}\"; graft has LORA, IA3, PROMPT_TUNING and PREFIX_TUNING", origin,
        shown(type));
  }
  c.target_modules = texts(json, "target_modules", origin);
  if (const auto it = json.find("target_modules"); it != json.end() && it->is_array() && it->empty())
    fail_with("name the modules that the adapter changes; null: those of the family",
              "{}: \"target_modules\" is an empty list", origin);
  c.layers_to_transform = layers(json, origin);
  c.modules_to_save = texts(json, "modules_to_save", origin);
  c.task_type = text_or_empty(json, "task_type", origin);
  c.base_model_name_or_path = text_or_empty(json, "base_model_name_or_path", origin);
  c.revision = text_or_empty(json, "revision", origin);
  return c;
} catch (const JsonError& e) {
  fail("{}: {}", file.string(), e.what());
}

// The keys in peft's order, which is the alphabet's.
Json PeftConfig::json() const {
  if (prompt) {
    std::map<std::string, Json> out = prompt->keys();
    out["auto_mapping"] = nullptr;
    out["base_model_name_or_path"] = base_model_name_or_path;
    out["inference_mode"] = true;
    out["modules_to_save"] = list_or_null(modules_to_save);
    out["revision"] = text_or_null(revision);
    out["task_type"] = text_or_null(task_type);
    return Json(out);
  }
  Json out = Json::object();
  const bool lora = peft_type == PeftType::lora;
  if (lora) out["alpha_pattern"] = Json::object();
  out["auto_mapping"] = nullptr;
  out["base_model_name_or_path"] = base_model_name_or_path;
  if (lora) out["bias"] = "none";
  out["fan_in_fan_out"] = fan_in_fan_out;
  if (!lora) out["feedforward_modules"] = feedforward_modules;
  out["inference_mode"] = true;
  if (lora) {
    out["init_lora_weights"] = init_lora_weights == "gaussian" ? Json("gaussian") : Json(true);
    out["layers_pattern"] = nullptr;
    // peft counts layers by the pattern, in one list; the names of target_modules hold the choice.
    out["layers_to_transform"] = nullptr;
    out["lora_alpha"] =
        lora_alpha == std::floor(lora_alpha) ? Json(static_cast<int64_t>(lora_alpha)) : Json(lora_alpha);
    out["lora_dropout"] = lora_dropout;
  } else {
    out["init_ia3_weights"] = true;
  }
  out["modules_to_save"] = list_or_null(modules_to_save);
  out["peft_type"] = lora ? "LORA" : "IA3";
  if (lora) {
    out["r"] = r;
    out["rank_pattern"] = Json::object();
  }
  out["revision"] = text_or_null(revision);
  out["target_modules"] = target_modules;
  out["task_type"] = text_or_null(task_type);
  if (lora) {
    out["use_dora"] = use_dora;
    out["use_rslora"] = use_rslora;
  }
  return out;
}

int64_t PeftConfig::rank(const std::string& module) const {
  auto rank = static_cast<double>(r);
  for (const auto& [name, value] : rank_pattern)
    if (selects(name, module)) rank = value;
  return static_cast<int64_t>(rank);
}

double PeftConfig::scaling(const std::string& module, int64_t rank) const {
  double alpha = lora_alpha;
  for (const auto& [name, value] : alpha_pattern)
    if (selects(name, module)) alpha = value;
  const auto n = static_cast<double>(rank);
  return alpha / (use_rslora ? std::sqrt(n) : n);
}

bool selects(const std::string& target, const std::string& module) {
  if (target.find('*') != std::string::npos) return engine::Glob(target).matches(module);
  return module == target || module.ends_with("." + target);
}

const PeftDefaults* find_peft_defaults(const std::string& model_type) {
  const std::vector<std::string> qv = {"query", "value"}, kv = {"key", "value", "output.dense"},
                                 out = {"output.dense"};
  static const std::vector<PeftDefaults> table = {
      {"bert", qv, kv, out},
      {"roberta", qv, kv, out},
      {"xlm-roberta", qv, kv, out},
      {"camembert", qv, kv, out},
      {"data2vec-text", qv, kv, out},
      {"electra", qv, kv, out},
      {"albert", qv, {"key", "value", "ffn_output"}, {"ffn_output"}},
      {"distilbert", {"q_lin", "v_lin"}, {"k_lin", "v_lin", "lin2"}, {"lin2"}},
      {"mpnet", {"attn.q", "attn.v"}, {"attn.k", "attn.v", "output.dense"}, out},
      {"deberta-v2", {"query_proj", "value_proj"}, {"key_proj", "value_proj", "output.dense"}, out},
      {"modernbert", {"Wqkv"}, {"Wqkv", "mlp.Wo"}, {"mlp.Wo"}},
      {"gpt2", {"c_attn"}, {"c_attn", "mlp.c_proj"}, {"mlp.c_proj"}},
      {"t5", {"q", "v"}, {"k", "v", "wo"}, {"wo"}},
      {"mt5", {"q", "v"}, {"k", "v", "wi_1"}, {}}};
  const auto it = std::find_if(table.begin(), table.end(),
                               [&](const PeftDefaults& d) { return model_type == d.model_type; });
  return it == table.end() ? nullptr : &*it;
}

std::string peft_task_type(const std::string& task) {
  for (const auto& [known, type] : kPeftTasks)
    if (task == known) return type;
  return "";
}

std::string task_of_peft(const std::string& task_type) {
  for (const auto& [task, type] : kPeftTasks)
    if (!task_type.empty() && task_type == type) return task;
  return "";
}

}  // namespace graft::models
