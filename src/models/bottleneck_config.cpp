#include "models/bottleneck_config.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.h"
#include "base/log.h"
#include "base/shown.h"
#include "models/transformer.h"

namespace graft::models {
namespace {

// {older name, name} of adapters.ADAPTER_CONFIG_MAP.
constexpr std::array<std::pair<const char*, const char*>, 6> kOlderNames = {
    {{"pfeiffer", "seq_bn"},
     {"pfeiffer+inv", "seq_bn_inv"},
     {"houlsby+inv", "double_seq_bn_inv"},
     {"houlsby", "double_seq_bn"},
     {"parallel", "par_bn"},
     {"scaled_parallel", "scaled_par_bn"}}};

// The keys of "config" that are true or false.
struct Flag {
  const char* key;
  bool BottleneckConfig::*member;
};

constexpr std::array<Flag, 8> kFlags = {
    {{"mh_adapter", &BottleneckConfig::mh_adapter},
     {"output_adapter", &BottleneckConfig::output_adapter},
     {"original_ln_before", &BottleneckConfig::original_ln_before},
     {"original_ln_after", &BottleneckConfig::original_ln_after},
     {"ln_before", &BottleneckConfig::ln_before},
     {"ln_after", &BottleneckConfig::ln_after},
     {"is_parallel", &BottleneckConfig::is_parallel},
     {"adapter_residual_before_ln", &BottleneckConfig::adapter_residual_before_ln}}};

// Keys that change what is computed in ways that graft does not have, with the only value it accepts.
struct RefusedSetting {
  const char* key;
  Json accepted;
};

const std::vector<RefusedSetting>& refused_settings() {
  static const std::vector<RefusedSetting> table = {
      {"use_gating", false}, {"phm_layer", false}, {"stochastic_depth", 0.0}};
  return table;
}

// Keys without an effect on a plain bottleneck in an encoder.
constexpr const char* kHarmless[] = {"cross_adapter",
                                     "init_weights_seed",
                                     "phm_dim",
                                     "factorized_phm_W",
                                     "shared_W_phm",
                                     "shared_phm_rule",
                                     "factorized_phm_rule",
                                     "phm_c_init",
                                     "phm_init_range",
                                     "learn_phm",
                                     "hypercomplex_nonlinearity",
                                     "phm_rank",
                                     "phm_bias",
                                     "architecture",
                                     "new_attention_norm"};

// Reads the keys of "config" one by one and notes which ones it has seen.
class Reader {
 public:
  Reader(const Json& json, std::string origin) : json_(json), origin_(std::move(origin)) {}

  void flag(const char* key, bool& out) {
    if (const Json* value = find(key))
      out = expect(key, value->is_boolean(), *value, "true or false").get<bool>();
  }
  void number(const char* key, double& out) {
    if (const Json* value = find(key))
      out = expect(key, value->is_number(), *value, "a number").get<double>();
  }
  void text(const char* key, std::string& out) {
    if (const Json* value = find(key))
      out = expect(key, value->is_string(), *value, "a text").get<std::string>();
  }
  const Json* find(const char* key) {
    seen_.emplace_back(key);
    const auto it = json_.find(key);
    return it == json_.end() || it->is_null() ? nullptr : &*it;
  }
  const Json& expect(const char* key, bool holds, const Json& value, const char* what) const {
    if (!holds)
      fail_with("correct it, or download the adapter again", "{}: \"{}\" is {}; it must be {}", origin_, key,
                shown(value.dump()), what);
    return value;
  }
  void warn_of_unknown_keys() const {
    for (const auto& [key, value] : json_.items()) {
      const std::string& name = key;  // clang 14 captures no structured binding
      const auto is = [&](const auto& known) { return name == known; };
      if (std::any_of(seen_.begin(), seen_.end(), is) ||
          std::any_of(std::begin(kHarmless), std::end(kHarmless), is))
        continue;
      log_warning("{}: the key \"{}\" is not known and has no effect", origin_, shown(key));
    }
  }

 private:
  const Json& json_;
  std::string origin_;
  std::vector<std::string> seen_;
};

void refuse_settings(Reader& read, const std::string& origin) {
  for (const auto& [key, accepted] : refused_settings()) {
    const Json* value = read.find(key);
    if (!value || *value == accepted || (value->is_number() && value->get<double>() == 0)) continue;
    fail_with("graft reads adapters whose configuration is seq_bn, double_seq_bn or par_bn, or near them",
              "{}: \"{}\" is {}, which graft does not implement", origin, key, shown(value->dump()));
  }
  std::string architecture;
  read.text("architecture", architecture);
  if (!architecture.empty())
    fail_with("LoRA and (IA)3 are read from folders of peft",
              "{}: \"architecture\" is \"{}\"; of AdapterHub's adapters graft reads bottlenecks", origin,
              shown(architecture));
}

void read_factors(BottleneckConfig& c, Reader& read) {
  const char* key = "reduction_factor";
  const Json* value = read.find(key);
  if (!value) return;
  const auto positive = [&](const Json& x) {
    return read
        .expect(key, x.is_number() && x.get<double>() > 0, x, "a number above 0, or such numbers by layer")
        .get<double>();
  };
  if (!value->is_object()) {
    c.reduction_factor = positive(*value);
    return;
  }
  for (const auto& [layer, factor] : value->items()) {
    if (layer == "default") {
      c.reduction_factor = positive(factor);
      continue;
    }
    const bool digits =
        !layer.empty() && layer.size() < 6 &&
        std::all_of(layer.begin(), layer.end(), [](char ch) { return ch >= '0' && ch <= '9'; });
    read.expect(key, digits, *value, "numbers above 0 by the number of their layer, and \"default\"");
    c.layer_factors[std::stoll(layer)] = positive(factor);
  }
}

void read_residual(BottleneckConfig& c, Reader& read) {
  const char* key = "residual_before_ln";
  const Json* value = read.find(key);
  if (!value) return;
  if (value->is_boolean()) {
    c.residual_before_ln = value->get<bool>() ? "true" : "false";
    return;
  }
  read.expect(key, value->is_string() && value->get<std::string>() == "post_add", *value,
              "true, false or \"post_add\"");
  c.residual_before_ln = "post_add";
}

void read_scaling(BottleneckConfig& c, Reader& read) {
  const Json* value = read.find("scaling");
  if (!value) return;
  if (value->is_number()) {
    c.scaling = value->get<double>();
    return;
  }
  const std::string name = value->is_string() ? value->get<std::string>() : "";
  read.expect("scaling", name == "learned" || name == "channel", *value,
              "a number, \"learned\" or \"channel\"");
  c.trained_scaling = name;
}

// {"block_type": "nice", "reduction_factor": 2} of older files, or two keys.
void read_invertible(BottleneckConfig& c, Reader& read, const std::string& origin) {
  const auto take = [&](Reader& from, const char* type, const char* factor) {
    from.text(type, c.inv_adapter);
    from.number(factor, c.inv_adapter_reduction_factor);
  };
  if (const Json* older = read.find("invertible_adapter")) {
    read.expect("invertible_adapter", older->is_object(), *older, "an object");
    Reader nested(*older, origin);
    take(nested, "block_type", "reduction_factor");
  }
  take(read, "inv_adapter", "inv_adapter_reduction_factor");
}

void read_left_out(BottleneckConfig& c, Reader& read) {
  const char *key = "leave_out", *what = "a list of numbers of layers";
  const Json* value = read.find(key);
  if (!value) return;
  read.expect(key, value->is_array(), *value, what);
  for (const Json& layer : *value) {
    read.expect(key, layer.is_number_integer(), *value, what);
    c.leave_out.push_back(layer.get<int64_t>());
  }
}

// The library's names of activations; without "version" those of adapter-transformers before release 3, where
// "gelu" was the approximation by tanh.
std::string own_activation(std::string name, bool has_version) {
  std::transform(name.begin(), name.end(), name.begin(),
                 [](char ch) { return ch >= 'A' && ch <= 'Z' ? static_cast<char>(ch - 'A' + 'a') : ch; });
  if (!has_version && name == "gelu") return "gelu_new";
  if (!has_version && name == "gelu_orig") return "gelu";
  return name == "leakyrelu" ? "leaky_relu" : name;
}

std::string text_of(const Json& file, const char* key, const std::string& origin) {
  const auto it = file.find(key);
  if (it == file.end() || it->is_null()) return "";
  if (!it->is_string())
    fail_with("correct it, or download the adapter again", "{}: \"{}\" is {}; it must be a text", origin, key,
              shown(it->dump()));
  return it->get<std::string>();
}

Json number_json(double x) {
  return x == std::floor(x) && std::fabs(x) < 1e15 ? Json(static_cast<int64_t>(x)) : Json(x);
}

}  // namespace

std::string bottleneck_name(const std::string& name) {
  for (const auto& [older, now] : kOlderNames)
    if (name == older) return now;
  return name;
}

bool is_bottleneck_file(const Json& file) {
  return file.is_object() && file.find("peft_type") == file.end() && file.find("config") != file.end();
}

BottleneckConfig BottleneckConfig::of_name(const std::string& given) {
  constexpr std::string_view kInvertible = "_inv";
  std::string name = bottleneck_name(given);
  BottleneckConfig c;  // seq_bn (Pfeiffer et al. 2020)
  if (name.ends_with(kInvertible) && !name.starts_with("par") && !name.starts_with("scaled")) {
    c.inv_adapter = "nice";
    name.erase(name.size() - kInvertible.size());
  }
  if (name == "double_seq_bn") {  // Houlsby et al. 2019
    c.mh_adapter = true;
    c.original_ln_before = false;
    c.non_linearity = "swish";
  } else if (name == "par_bn" || name == "scaled_par_bn") {  // He et al. 2022
    c.is_parallel = true;
    c.original_ln_before = false;
    c.reduction_factor = 2;
    c.init_weights = "mam_adapter";
    c.scaling = 4;
    if (name == "scaled_par_bn") c.trained_scaling = "learned";
  } else if (name != "seq_bn") {
    fail(
        "the configuration \"{}\" of a bottleneck adapter is not known; there are: seq_bn, double_seq_bn, "
        "par_bn, scaled_par_bn, seq_bn_inv, double_seq_bn_inv",
        shown(given));
  }
  return c;
}

BottleneckConfig BottleneckConfig::read(const Json& file, const std::string& origin) {
  const Json& config = file.at("config");
  BottleneckConfig c;
  if (config.is_string()) {
    c = of_name(config.get<std::string>());
  } else {
    if (!config.is_object())
      fail_with("download the adapter again", "{}: \"config\" must be an object", origin);
    c.original_ln_before = false;  // the defaults of BnConfig
    Reader read(config, origin);
    refuse_settings(read, origin);
    for (const char* key : {"mh_adapter", "output_adapter", "reduction_factor", "non_linearity"})
      if (!read.find(key))
        fail_with("download the adapter again", "{}: \"config\" has no \"{}\"", origin, key);
    for (const Flag& flag : kFlags) read.flag(flag.key, c.*flag.member);
    read_factors(c, read);
    read.text("non_linearity", c.non_linearity);
    read_residual(c, read);
    read_scaling(c, read);
    read.text("init_weights", c.init_weights);
    read_left_out(c, read);
    read.number("dropout", c.dropout);
    read_invertible(c, read, origin);
    read.warn_of_unknown_keys();
    c.non_linearity = own_activation(c.non_linearity, file.find("version") != file.end());
  }
  c.name = text_of(file, "name", origin);
  if (c.name.empty())
    fail_with("write the name there that the adapter's tensors have behind \"adapters.\"",
              "{}: \"name\" is missing", origin);
  c.model_type = text_of(file, "model_type", origin);
  c.load_lang_adapter = text_of(file, "load_lang_adapter", origin);
  c.type = text_of(file, "type", origin);
  if (const auto it = file.find("hidden_size"); it != file.end() && it->is_number_integer())
    c.hidden_size = it->get<int64_t>();
  c.is_old = file.find("version") == file.end();
  c.check(origin);
  return c;
}

void BottleneckConfig::check(const std::string& origin) const {
  if (!mh_adapter && !output_adapter)
    fail_with("set one of them to true",
              "{}: \"mh_adapter\" and \"output_adapter\" are false: no layer has an adapter", origin);
  if (residual_before_ln == "post_add" && !original_ln_before && !is_parallel)
    fail_with("set \"original_ln_before\" to true, or \"residual_before_ln\" to true",
              "{}: \"residual_before_ln\" is \"post_add\", but \"original_ln_before\" is false: there is no "
              "sum before the adapter",
              origin);
  if (!(dropout >= 0 && dropout < 1))
    fail("{}: \"dropout\" is {}; it must be from 0 to below 1", origin, dropout);
  if (!std::isfinite(scaling)) fail("{}: \"scaling\" is no finite number", origin);
  if (init_weights != "bert" && init_weights != "mam_adapter" && init_weights != "houlsby")
    fail("{}: \"init_weights\" is \"{}\"; it must be bert, mam_adapter or houlsby", origin,
         shown(init_weights));
  if (!(inv_adapter_reduction_factor > 0))
    fail("{}: \"inv_adapter_reduction_factor\" is {}; it must be above 0", origin,
         inv_adapter_reduction_factor);
  parse_activation(non_linearity, origin);
}

void BottleneckConfig::settle_invertible(bool has_tensors, const std::string& origin) {
  if (is_old && !has_tensors) inv_adapter.clear();
  if (!inv_adapter.empty() && inv_adapter != "nice")
    fail_with("graft reads invertible adapters of the kind nice",
              "{}: \"inv_adapter\" is \"{}\", which graft does not implement", origin, shown(inv_adapter));
}

// The keys of BnConfig.to_dict(), in the order of the alphabet.
Json BottleneckConfig::json() const {
  std::map<std::string, Json> out;
  for (const Flag& flag : kFlags) out[flag.key] = this->*flag.member;
  for (const char* key : {"cross_adapter", "phm_layer", "use_gating"}) out[key] = false;
  out["dropout"] = dropout;
  out["init_weights"] = init_weights;
  const bool inv = !inv_adapter.empty();
  out["inv_adapter"] = inv ? Json(inv_adapter) : Json(nullptr);
  out["inv_adapter_reduction_factor"] = inv ? number_json(inv_adapter_reduction_factor) : Json(nullptr);
  out["leave_out"] = Json(leave_out);
  out["non_linearity"] = non_linearity;
  if (layer_factors.empty()) {
    out["reduction_factor"] = number_json(reduction_factor);
  } else {
    Json factors = {{"default", number_json(reduction_factor)}};
    for (const auto& [layer, factor] : layer_factors) factors[std::to_string(layer)] = number_json(factor);
    out["reduction_factor"] = factors;
  }
  out["residual_before_ln"] =
      residual_before_ln == "post_add" ? Json("post_add") : Json(residual_before_ln == "true");
  // The library tells a factor from a name by its type: 4.0, not 4.
  out["scaling"] = trained_scaling.empty() ? Json(scaling) : Json(trained_scaling);
  out["stochastic_depth"] = 0.0;
  return Json(out);
}

int64_t BottleneckConfig::size_in(int64_t layer, int64_t hidden) const {
  const auto it = layer_factors.find(layer);
  const double factor = it == layer_factors.end() ? reduction_factor : it->second;
  return std::max<int64_t>(1, static_cast<int64_t>(std::floor(static_cast<double>(hidden) / factor)));
}

bool BottleneckConfig::leaves_out(int64_t layer) const {
  return std::find(leave_out.begin(), leave_out.end(), layer) != leave_out.end();
}

}  // namespace graft::models
