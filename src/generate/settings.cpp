#include "generate/settings.h"

#include <cmath>
#include <map>
#include <set>

#include "base/error.h"
#include "base/log.h"
#include "base/nearest.h"
#include "base/shown.h"
#include "generate/settings_table.h"

namespace graft::generate {
namespace {

// Keys that change the result and are not implemented, with the value that asks for nothing.
const std::map<std::string, Json>& refused() {
  static const std::map<std::string, Json> keys = {{"num_beam_groups", 1},
                                                   {"diversity_penalty", 0.0},
                                                   {"penalty_alpha", Json()},
                                                   {"min_p", Json()},
                                                   {"top_h", Json()},
                                                   {"epsilon_cutoff", 0.0},
                                                   {"eta_cutoff", 0.0},
                                                   {"encoder_repetition_penalty", 1.0},
                                                   {"encoder_no_repeat_ngram_size", 0},
                                                   {"bad_words_ids", Json()},
                                                   {"force_words_ids", Json()},
                                                   {"constraints", Json()},
                                                   {"forced_bos_token_id", Json()},
                                                   {"forced_eos_token_id", Json()},
                                                   {"exponential_decay_length_penalty", Json()},
                                                   {"suppress_tokens", Json()},
                                                   {"begin_suppress_tokens", Json()},
                                                   {"sequence_bias", Json()},
                                                   {"guidance_scale", Json()},
                                                   {"watermarking_config", Json()},
                                                   {"renormalize_logits", false},
                                                   {"remove_invalid_values", false},
                                                   {"dola_layers", Json()},
                                                   {"prompt_lookup_num_tokens", Json()},
                                                   {"max_time", Json()}};
  return keys;
}

// Keys without an effect on the tokens.
const std::set<std::string>& no_effect() {
  static const std::set<std::string> keys = {"_from_model_config",
                                             "transformers_version",
                                             "output_attentions",
                                             "output_hidden_states",
                                             "output_scores",
                                             "output_logits",
                                             "return_dict_in_generate",
                                             "cache_implementation",
                                             "cache_config",
                                             "return_legacy_cache",
                                             "low_memory",
                                             "token_healing",
                                             "is_assistant",
                                             "num_assistant_tokens",
                                             "num_assistant_tokens_schedule",
                                             "assistant_confidence_threshold",
                                             "assistant_early_exit",
                                             "assistant_lookbehind",
                                             "target_lookbehind",
                                             "max_matching_ngram_size",
                                             "compile_config",
                                             "disable_compile",
                                             "decoder_start_token_id",
                                             "prefill_chunk_size",
                                             "_commit_hash",
                                             "continuous_batching_config"};
  return keys;
}

// The settings of a JSON object, by their kinds.
class Reader {
 public:
  Reader(const Json& file, std::string origin) : file_(file), origin_(std::move(origin)) {}

  void read(const Setting& setting, GenerationOptions& o) const {
    const auto it = file_.find(setting.name);
    if (it == file_.end() || it->is_null()) return;
    std::visit([&](auto member) { set(o.*member, setting.name, *it); }, setting.member);
  }

 private:
  void set(double& to, const char* key, const Json& j) const {
    to = j.is_number() ? j.get<double>() : wrong<double>(key, j, "a number");
  }
  void set(int64_t& to, const char* key, const Json& j) const { to = integer_of(key, j); }
  void set(uint64_t& to, const char* key, const Json& j) const {
    if (integer_of(key, j) < 0) wrong<int>(key, j, "at least 0");
    to = static_cast<uint64_t>(integer_of(key, j));
  }
  // Old files write -1 for none.
  void set(Limit& to, const char* key, const Json& j) const {
    if (const int64_t value = integer_of(key, j); value != -1) to = value;
  }
  void set(bool& to, const char* key, const Json& j) const {
    to = j.is_boolean() ? j.get<bool>() : wrong<bool>(key, j, "true or false");
  }
  void set(TokenId& to, const char* key, const Json& j) const {
    to = static_cast<int32_t>(integer_of(key, j));
  }
  // One id or a list of ids.
  void set(TokenIds& to, const char* key, const Json& j) const {
    to.clear();
    if (!j.is_array()) return to.push_back(static_cast<int32_t>(integer_of(key, j)));
    for (const Json& one : j) to.push_back(static_cast<int32_t>(integer_of(key, one)));
  }
  void set(Texts& to, const char* key, const Json& j) const {
    to.clear();
    if (j.is_string()) return to.push_back(j.get<std::string>());
    if (!j.is_array()) wrong<int>(key, j, "a list of texts");
    for (const Json& one : j)
      to.push_back(one.is_string() ? one.get<std::string>() : wrong<std::string>(key, one, "a text"));
  }
  void set(EarlyStopping& to, const char* key, const Json& j) const {
    if (j.is_boolean())
      to = j.get<bool>() ? EarlyStopping::always : EarlyStopping::heuristic;
    else if (j.is_string() && j.get<std::string>() == "never")
      to = EarlyStopping::never;
    else
      wrong<int>(key, j, "true, false or \"never\"");
  }
  int64_t integer_of(const char* key, const Json& j) const {
    return j.is_number_integer() && std::fabs(j.get<double>()) <= 2147483647.0
               ? j.get<int64_t>()
               : wrong<int64_t>(key, j, "an integer of 32 bits");
  }
  template <class T>
  T wrong(const char* key, const Json& j, const char* expected) const {
    fail("{}: \"{}\" must be {}, not {}", origin_, key, expected, shown(j.dump()));
  }

  const Json& file_;
  std::string origin_;
};

bool same_number(const Json& a, const Json& b) {
  return a.is_number() && b.is_number() && a.get<double>() == b.get<double>();
}

const Setting* find_setting(const std::string& name) {
  for (const Setting& s : settings_table())
    if (name == s.name) return &s;
  return nullptr;
}

// Throws Error for keys that ask for what is not implemented. Returns those that are not known.
std::vector<std::string> check_other_keys(const Json& file, const std::string& origin) {
  std::vector<std::string> unknown;
  for (const auto& [key, value] : file.items()) {
    if (find_setting(key) || no_effect().count(key)) continue;
    const auto it = refused().find(key);
    if (it == refused().end()) {
      unknown.push_back(key);
    } else if (!value.is_null() && !(value == it->second) && !same_number(value, it->second)) {
      fail_with(fmt::format("remove the key \"{}\", or generate with the reference", key),
                "{}: \"{}\" is {}, which graft does not implement", origin, key, shown(value.dump()));
    }
  }
  return unknown;
}

}  // namespace

GenerationOptions read_settings(const Json& file, const Json& config, const std::string& origin) {
  GenerationOptions o;
  if (config.is_object()) {
    const Reader model(config, "config.json");
    for (const char* key : {"eos_token_id", "bos_token_id", "pad_token_id"})
      model.read(*find_setting(key), o);
  }
  if (!file.is_object()) return o;
  const Reader reader(file, origin);
  std::string unknown;
  for (const std::string& key : check_other_keys(file, origin))
    unknown += (unknown.empty() ? "" : ", ") + shown(key);
  for (const Setting& s : settings_table()) {
    if (s.in_file)
      reader.read(s, o);
    else if (file.contains(s.name))
      unknown += (unknown.empty() ? "" : ", ") + shown(s.name);
  }
  if (!unknown.empty()) log_warning("{}: unknown keys are ignored: {}", origin, unknown);
  return o;
}

GenerationOptions change_settings(GenerationOptions o, const Json& given, const std::string& origin) {
  if (const std::vector<std::string> unknown = check_other_keys(given, origin); !unknown.empty()) {
    std::vector<std::string> names;
    for (const Setting& s : settings_table()) names.emplace_back(s.name);
    const std::string near = nearest_name(unknown.front(), names);
    fail_with(near.empty() ? "" : fmt::format("did you mean \"{}\"?", near), "{}: unknown key \"{}\"", origin,
              shown(unknown.front()));
  }
  prefer_max_length(o, given.contains("max_length"), given.contains("max_new_tokens"));
  const Reader reader(given, origin);
  for (const Setting& s : settings_table()) reader.read(s, o);
  return o;
}

void prefer_max_length(GenerationOptions& o, bool length_given, bool new_tokens_given) {
  if (length_given && !new_tokens_given) o.max_new_tokens.reset();
}

namespace {

void put(Json& out, const char* key, const Limit& value) { out[key] = *value; }
void put(Json& out, const char* key, const TokenId& value) { out[key] = *value; }
void put(Json& out, const char* key, EarlyStopping value) {
  if (value == EarlyStopping::never)
    out[key] = "never";
  else
    out[key] = value == EarlyStopping::always;
}
void put(Json& out, const char* key, const TokenIds& value) {
  if (value.size() == 1)
    out[key] = value.front();
  else
    out[key] = value;
}
template <class T>
void put(Json& out, const char* key, const T& value) {
  out[key] = value;
}

}  // namespace

Json to_json(const GenerationOptions& o) {
  const GenerationOptions usual;
  Json out = Json::object();
  for (const Setting& s : settings_table()) {
    const auto add = [&](auto member) {
      if (!(o.*member == usual.*member)) put(out, s.name, o.*member);
    };
    if (s.in_file) std::visit(add, s.member);
  }
  return out;
}

namespace {

void refuse_if(bool wrong, const std::string& what, const char* hint = "") {
  if (wrong) throw UsageError(what, hint);
}

void check_ranges(const GenerationOptions& o) {
  const auto at_least = [](const char* name, double value, double min) {
    refuse_if(!(value >= min && std::isfinite(value)),
              fmt::format("{} is {}; it must be at least {}", name, value, min));
  };
  const auto fraction = [](const char* name, double value) {
    refuse_if(!(value > 0 && value <= 1),
              fmt::format("{} is {}; it must be above 0 and at most 1", name, value));
  };
  for (const Setting& s : settings_table()) {
    if (const auto* count = std::get_if<int64_t GenerationOptions::*>(&s.member))
      at_least(s.name, static_cast<double>(o.*(*count)), static_cast<double>(s.min));
    if (const auto* limit = std::get_if<Limit GenerationOptions::*>(&s.member); limit && o.*(*limit))
      at_least(s.name, static_cast<double>(*(o.*(*limit))), static_cast<double>(s.min));
  }
  refuse_if(!(o.temperature > 0 && std::isfinite(o.temperature)),
            fmt::format("temperature is {}; it must be above 0", o.temperature),
            "for the most probable token at each step, leave do_sample false");
  refuse_if(!(o.repetition_penalty > 0 && std::isfinite(o.repetition_penalty)),
            fmt::format("repetition_penalty is {}; it must be above 0 (1 = none)", o.repetition_penalty));
  refuse_if(!std::isfinite(o.length_penalty), "length_penalty is not a finite number");
  fraction("top_p", o.top_p);
  fraction("typical_p", o.typical_p);
  for (const std::string& text : o.stop_strings) refuse_if(text.empty(), "a stop string is empty");
}

}  // namespace

void check(const GenerationOptions& o) {
  check_ranges(o);
  refuse_if(
      o.do_sample && o.num_beams > 1,
      fmt::format("num_beams {} with do_sample true: beams that are drawn are not implemented", o.num_beams),
      "set num_beams 1, or do_sample false");
  if (!o.do_sample && o.num_return_sequences > o.num_beams) {
    refuse_if(o.num_beams == 1,
              fmt::format("num_return_sequences {} without do_sample or beams: all of them would be the same",
                          o.num_return_sequences),
              "set do_sample true, or num_beams");
    refuse_if(true, fmt::format("num_return_sequences {} is more than the {} beams", o.num_return_sequences,
                                o.num_beams));
  }
  refuse_if(o.max_new_tokens && o.min_new_tokens > *o.max_new_tokens,
            fmt::format("min_new_tokens {} is more than max_new_tokens {}", o.min_new_tokens,
                        o.max_new_tokens.value_or(0)));
  refuse_if(!o.max_new_tokens && o.max_length && o.min_length > *o.max_length,
            fmt::format("min_length {} is more than max_length {}", o.min_length, o.max_length.value_or(0)));
}

}  // namespace graft::generate
