#include "generate/settings.h"

#include <cmath>
#include <map>
#include <set>

#include "base/error.h"
#include "base/log.h"
#include "base/shown.h"

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

class Reader {
 public:
  Reader(const Json& file, const std::string& origin) : file_(file), origin_(origin) {}

  void number(const char* key, double& to) {
    if (const Json* j = find(key))
      to = j->is_number() ? j->get<double>() : wrong<double>(key, *j, "a number");
  }
  template <class T>
  void integer(const char* key, T& to) {
    if (const Json* j = find(key)) to = integer_of(key, *j);
  }
  void flag(const char* key, bool& to) {
    if (const Json* j = find(key))
      to = j->is_boolean() ? j->get<bool>() : wrong<bool>(key, *j, "true or false");
  }
  void id(const char* key, std::optional<int32_t>& to) {
    if (const Json* j = find(key)) to = static_cast<int32_t>(integer_of(key, *j));
  }
  // One id or a list of ids.
  void ids(const char* key, std::vector<int32_t>& to) {
    const Json* j = find(key);
    if (!j) return;
    to.clear();
    if (!j->is_array()) return to.push_back(static_cast<int32_t>(integer_of(key, *j)));
    for (const Json& one : *j) to.push_back(static_cast<int32_t>(integer_of(key, one)));
  }
  void texts(const char* key, std::vector<std::string>& to) {
    const Json* j = find(key);
    if (!j) return;
    to.clear();
    if (j->is_string()) return to.push_back(j->get<std::string>());
    if (!j->is_array()) wrong<int>(key, *j, "a list of texts");
    for (const Json& one : *j)
      to.push_back(one.is_string() ? one.get<std::string>() : wrong<std::string>(key, one, "a text"));
  }
  void early(const char* key, EarlyStopping& to) {
    const Json* j = find(key);
    if (!j) return;
    if (j->is_boolean())
      to = j->get<bool>() ? EarlyStopping::always : EarlyStopping::heuristic;
    else if (j->is_string() && j->get<std::string>() == "never")
      to = EarlyStopping::never;
    else
      wrong<int>(key, *j, "true, false or \"never\"");
  }
  void refuse_rest() {
    std::string unknown;
    for (const auto& [key, value] : file_.items()) {
      if (known_.count(key) || no_effect().count(key)) continue;
      const auto it = refused().find(key);
      if (it == refused().end()) {
        unknown += (unknown.empty() ? "" : ", ") + shown(key);
      } else if (!value.is_null() && !(value == it->second) && !same_number(value, it->second)) {
        fail_with(fmt::format("remove the key \"{}\", or generate with the reference", key),
                  "{}: \"{}\" is {}, which graft does not implement", origin_, key, shown(value.dump()));
      }
    }
    if (!unknown.empty()) log_warning("{}: unknown keys are ignored: {}", origin_, unknown);
  }

 private:
  const Json* find(const char* key) {
    known_.insert(key);
    const auto it = file_.find(key);
    return it == file_.end() || it->is_null() ? nullptr : &*it;
  }
  int64_t integer_of(const char* key, const Json& j) {
    return j.is_number_integer() && std::fabs(j.get<double>()) <= 2147483647.0
               ? j.get<int64_t>()
               : wrong<int64_t>(key, j, "an integer of 32 bits");
  }
  static bool same_number(const Json& a, const Json& b) {
    return a.is_number() && b.is_number() && a.get<double>() == b.get<double>();
  }
  template <class T>
  T wrong(const char* key, const Json& j, const char* expected) {
    fail("{}: \"{}\" must be {}, not {}", origin_, key, expected, shown(j.dump()));
  }

  const Json& file_;
  std::string origin_;
  std::set<std::string> known_;
};

template <class T>
void read_limit(Reader& reader, const char* key, std::optional<T>& to) {
  T value = -1;
  reader.integer(key, value);
  if (value != -1) to = value;
}

}  // namespace

GenerationOptions read_settings(const Json& file, const Json& config, const std::string& origin) {
  GenerationOptions o;
  if (config.is_object()) {
    Reader model(config, "config.json");
    model.ids("eos_token_id", o.eos_token_id);
    model.id("bos_token_id", o.bos_token_id);
    model.id("pad_token_id", o.pad_token_id);
  }
  if (!file.is_object()) return o;
  Reader reader(file, origin);
  read_limit(reader, "max_new_tokens", o.max_new_tokens);
  read_limit(reader, "max_length", o.max_length);
  reader.integer("min_length", o.min_length);
  reader.integer("min_new_tokens", o.min_new_tokens);
  reader.texts("stop_strings", o.stop_strings);
  reader.integer("num_beams", o.num_beams);
  reader.number("length_penalty", o.length_penalty);
  reader.early("early_stopping", o.early_stopping);
  reader.integer("num_return_sequences", o.num_return_sequences);
  reader.flag("do_sample", o.do_sample);
  reader.number("temperature", o.temperature);
  reader.integer("top_k", o.top_k);
  reader.number("top_p", o.top_p);
  reader.number("typical_p", o.typical_p);
  reader.number("repetition_penalty", o.repetition_penalty);
  reader.integer("no_repeat_ngram_size", o.no_repeat_ngram_size);
  reader.ids("eos_token_id", o.eos_token_id);
  reader.id("bos_token_id", o.bos_token_id);
  reader.id("pad_token_id", o.pad_token_id);
  reader.flag("use_cache", o.use_cache);
  reader.refuse_rest();
  return o;
}

Json to_json(const GenerationOptions& o) {
  const GenerationOptions usual;
  Json out = Json::object();
  const auto put = [&](const char* key, const auto& value, const auto& fallback) {
    if (!(value == fallback)) out[key] = value;
  };
  if (o.max_new_tokens) out["max_new_tokens"] = *o.max_new_tokens;
  if (o.max_length) out["max_length"] = *o.max_length;
  put("min_length", o.min_length, usual.min_length);
  put("min_new_tokens", o.min_new_tokens, usual.min_new_tokens);
  put("stop_strings", o.stop_strings, usual.stop_strings);
  put("num_beams", o.num_beams, usual.num_beams);
  put("length_penalty", o.length_penalty, usual.length_penalty);
  if (o.early_stopping == EarlyStopping::always) out["early_stopping"] = true;
  if (o.early_stopping == EarlyStopping::never) out["early_stopping"] = "never";
  put("num_return_sequences", o.num_return_sequences, usual.num_return_sequences);
  put("do_sample", o.do_sample, usual.do_sample);
  put("temperature", o.temperature, usual.temperature);
  put("top_k", o.top_k, usual.top_k);
  put("top_p", o.top_p, usual.top_p);
  put("typical_p", o.typical_p, usual.typical_p);
  put("repetition_penalty", o.repetition_penalty, usual.repetition_penalty);
  put("no_repeat_ngram_size", o.no_repeat_ngram_size, usual.no_repeat_ngram_size);
  if (o.eos_token_id.size() == 1) out["eos_token_id"] = o.eos_token_id.front();
  if (o.eos_token_id.size() > 1) out["eos_token_id"] = o.eos_token_id;
  if (o.bos_token_id) out["bos_token_id"] = *o.bos_token_id;
  if (o.pad_token_id) out["pad_token_id"] = *o.pad_token_id;
  put("use_cache", o.use_cache, usual.use_cache);
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
  if (o.max_new_tokens) at_least("max_new_tokens", static_cast<double>(*o.max_new_tokens), 1);
  if (o.max_length) at_least("max_length", static_cast<double>(*o.max_length), 1);
  for (const auto& [name, value, min] : {std::tuple{"min_length", o.min_length, 0},
                                         {"min_new_tokens", o.min_new_tokens, 0},
                                         {"num_beams", o.num_beams, 1},
                                         {"num_return_sequences", o.num_return_sequences, 1},
                                         {"top_k", o.top_k, 0},
                                         {"no_repeat_ngram_size", o.no_repeat_ngram_size, 0}})
    at_least(name, static_cast<double>(value), min);
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
      "choose one of the two");
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
