#include "models/config_keys.h"

#include <algorithm>
#include <set>
#include <string_view>

#include "base/error.h"
#include "base/log.h"
#include "base/shown.h"
#include "models/registry.h"

namespace graft::models {
namespace {

// Keys of every model (PreTrainedConfig of both releases).
const std::vector<const char*>& used_by_all() {
  static const std::vector<const char*> keys = {
      "model_type",          "architectures",  "vocab_size",  "max_position_embeddings",
      "pad_token_id",        "num_labels",     "id2label",    "label2id",
      "problem_type",        "dtype",          "torch_dtype", "initializer_range",
      "tie_word_embeddings", "tokenizer_class"};
  return keys;
}

const std::vector<RefusedKey>& refused_by_all() {
  static const std::vector<RefusedKey> keys = {
      {"is_decoder", "false", "causal attention"},
      {"add_cross_attention", "false", "cross attention"},
      {"is_encoder_decoder", "false", "an encoder-decoder"},
      {"pruned_heads", "{}", "attention heads that are removed"},
      {"per_layer_config", "{}", "layers with settings of their own"},
      {"quantization_config", "null", "quantised weights"},
      {"compression_config", "null", "quantised weights"},
  };
  return keys;
}

// Keys without an effect on what these models compute: outputs to return, memory against time, generation,
// where the file comes from, what other heads and programs read.
const std::vector<const char*>& harmless() {
  static const std::vector<const char*> keys = {
      // PreTrainedConfig
      "transformers_version", "_name_or_path", "name_or_path", "_commit_hash", "output_hidden_states",
      "output_attentions", "return_dict", "use_return_dict", "torchscript", "use_bfloat16", "tf_legacy_loss",
      "chunk_size_feed_forward", "cross_attention_hidden_size", "tie_encoder_decoder", "finetuning_task",
      "task_specific_params", "prefix", "bos_token_id", "eos_token_id", "sep_token_id", "mask_token_id",
      "decoder_start_token_id", "use_cache", "output_past", "gradient_checkpointing", "attn_implementation",
      "_attn_implementation", "_attn_implementation_autoset", "_attn_implementation_internal",
      "experts_implementation", "function_to_apply", "_num_labels", "xla_device", "tie_last_hidden_states",
      "_pre_quantization_dtype", "custom_pipelines", "transformers.js_config",
      // generation
      "max_length", "min_length", "do_sample", "early_stopping", "num_beams", "num_beam_groups",
      "diversity_penalty", "temperature", "top_k", "top_p", "typical_p", "repetition_penalty",
      "length_penalty", "no_repeat_ngram_size", "encoder_no_repeat_ngram_size", "bad_words_ids",
      "num_return_sequences", "output_scores", "return_dict_in_generate", "forced_bos_token_id",
      "forced_eos_token_id", "remove_invalid_values", "exponential_decay_length_penalty", "suppress_tokens",
      "begin_suppress_tokens", "max_new_tokens",
      // original BERT and DistilBERT checkpoints, heads for other tasks
      "directionality", "pooler_fc_size", "pooler_num_attention_heads", "pooler_num_fc_layers",
      "pooler_size_per_head", "tie_weights_", "pooler_type", "qa_dropout", "summary_activation",
      "summary_first_dropout", "summary_last_dropout", "summary_proj_to_labels", "summary_type",
      "summary_use_proj",
      // sentence-transformers
      "sentence_transformers", "sbert_ce_default_activation_function"};
  return keys;
}

void refuse(const ModelConfig& config, const RefusedKey& key, bool from_scratch) {
  const auto it = config.json().find(key.name);
  if (it == config.json().end() || it->is_null() || (key.when_initialising && !from_scratch)) return;
  const std::string value = it->dump();
  if (value == key.accepted) return;
  fail_with(std::string_view(key.accepted) == "null"
                ? "use a checkpoint whose config.json does not have this key"
                : fmt::format("use a checkpoint with \"{}\": {}", key.name, key.accepted),
            "{}: \"{}\" is {}: it asks for {}, which graft does not implement", config.origin(), key.name,
            shown(value), key.other_values);
}

}  // namespace

void check_keys(const ModelConfig& config, bool from_scratch) {
  const Family* family = find_family_or_null(config);  // find_family reports an unknown model_type
  if (!family) return;
  std::set<std::string_view> known(used_by_all().begin(), used_by_all().end());
  known.insert(harmless().begin(), harmless().end());
  known.insert(family->keys.used.begin(), family->keys.used.end());
  known.insert(family->keys.harmless.begin(), family->keys.harmless.end());
  for (const auto& [other, own] : family->keys.second_spellings) known.insert(other);
  // Keys of which the family has its own rule.
  std::set<std::string_view> own(family->keys.used.begin(), family->keys.used.end());
  for (const RefusedKey& key : family->keys.refused) own.insert(key.name);
  for (const std::vector<RefusedKey>* list : {&refused_by_all(), &family->keys.refused}) {
    for (const RefusedKey& key : *list) {
      if (list == &refused_by_all() && own.count(key.name)) continue;
      refuse(config, key, from_scratch);
      known.insert(key.name);
    }
  }
  if (config.json().contains("auto_map")) {
    log_warning(
        "{}: \"auto_map\" names Python code of the checkpoint's own; it is not run (as in transformers "
        "without trust_remote_code), the model is computed as a {}",
        config.origin(), config.model_type());
    known.insert("auto_map");
  }
  std::string unknown;
  for (const auto& [name, value] : config.json().items())
    if (!known.count(name)) unknown += (unknown.empty() ? "" : ", ") + shown(name);
  if (!unknown.empty()) log_warning("{}: unknown keys are ignored: {}", config.origin(), unknown);
}

void resolve_second_spellings(ModelConfig& config) {
  const Family* family = find_family_or_null(config);  // find_family reports an unknown model_type
  if (!family) return;
  for (const auto& [other, own] : family->keys.second_spellings) {
    const Json second = config.json().value(other, Json()), first = config.json().value(own, Json());
    if (second.is_null()) continue;
    if (first.is_null()) {
      config.json()[own] = second;
    } else if (!(first == second)) {
      fail_with(fmt::format("remove one of them: a {} reads both as \"{}\"", config.model_type(), own),
                "{}: \"{}\" is {} but \"{}\" is {}", config.origin(), own, shown(first.dump()), other,
                shown(second.dump()));
    }
  }
}

std::vector<std::string> dropout_keys(const Family* family) {
  std::vector<std::string> keys;
  const auto add = [&](const Family& from) {
    for (const std::string key : from.keys.used) {
      const bool is_dropout = key.find("dropout") != std::string::npos || key.ends_with("_pdrop");
      if (is_dropout && std::find(keys.begin(), keys.end(), key) == keys.end()) keys.push_back(key);
    }
  };
  if (family) {
    add(*family);
  } else {
    for (const Family* each : families()) add(*each);
  }
  return keys;
}

void override_dropout(ModelConfig& config, const std::vector<std::pair<std::string, double>>& values) {
  const Family* family = find_family_or_null(config);
  if (!family) return;  // find_family reports it
  const std::vector<std::string> own = dropout_keys(family);
  for (const auto& [key, value] : values) {
    if (std::find(own.begin(), own.end(), key) == own.end()) {
      std::string list;
      for (const std::string& name : own) list += (list.empty() ? "--" : ", --") + name;
      throw UsageError(fmt::format("--{} is refused: a {} has no such dropout", key, config.model_type()),
                       "it has " + list);
    }
    if (!(value >= 0 && value < 1))
      throw UsageError(fmt::format("--{} {} is out of range: it may be at least 0 and below 1", key, value));
    config.json()[key] = value;
  }
}

}  // namespace graft::models
