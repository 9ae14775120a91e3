#include "models/prompt_config.h"

#include "base/error.h"
#include "base/shown.h"

namespace graft::models {
namespace {

constexpr const char* kTryAgain = "correct it, or download the adapter again";

// The number of a key; 0 where it is null or missing.
int64_t count_in(const Json& file, const char* key, const std::string& origin) {
  const auto it = file.find(key);
  if (it == file.end() || it->is_null()) return 0;
  if (!it->is_number_integer() || it->get<int64_t>() < 0)
    fail_with(kTryAgain, "{}: \"{}\" is {}; it must be a count", origin, key, shown(it->dump()));
  return it->get<int64_t>();
}

std::string text_in(const Json& file, const char* key, const std::string& origin) {
  const auto it = file.find(key);
  if (it == file.end() || it->is_null()) return "";
  if (!it->is_string())
    fail_with(kTryAgain, "{}: \"{}\" is {}; it must be a text", origin, key, shown(it->dump()));
  return it->get<std::string>();
}

Json text_or_null_of(const std::string& text) { return text.empty() ? Json() : Json(text); }

}  // namespace

PromptConfig PromptConfig::read(const Json& file, const std::string& origin, bool prefix) {
  PromptConfig c;
  c.prefix = prefix;
  c.num_virtual_tokens = count_in(file, "num_virtual_tokens", origin);
  if (c.num_virtual_tokens < 1) fail_with(kTryAgain, "{}: \"num_virtual_tokens\" must be 1 or more", origin);
  if (const int64_t streams = count_in(file, "num_transformer_submodules", origin); streams > 1)
    fail_with(
        "use it with peft in Python",
        "{}: \"num_transformer_submodules\" is {}: virtual tokens of an encoder-decoder, which graft does "
        "not implement",
        origin, streams);
  if (const std::string init = text_in(file, "prompt_tuning_init", origin); !init.empty())
    c.prompt_tuning_init = init;
  c.prompt_tuning_init_text = text_in(file, "prompt_tuning_init_text", origin);
  c.tokenizer_name_or_path = text_in(file, "tokenizer_name_or_path", origin);
  c.token_dim = count_in(file, "token_dim", origin);
  c.num_layers = count_in(file, "num_layers", origin);
  c.num_attention_heads = count_in(file, "num_attention_heads", origin);
  return c;
}

std::map<std::string, Json> PromptConfig::keys() const {
  std::map<std::string, Json> out = {{"num_attention_heads", num_attention_heads},
                                     {"num_layers", num_layers},
                                     {"num_transformer_submodules", 1},
                                     {"num_virtual_tokens", num_virtual_tokens},
                                     {"peft_type", prefix ? "PREFIX_TUNING" : "PROMPT_TUNING"},
                                     {"token_dim", token_dim}};
  if (prefix) {
    out["encoder_hidden_size"] = token_dim;  // of a projection; peft writes it without one, too
    out["init_weights"] = nullptr;
    out["prefix_projection"] = false;
    return out;
  }
  out["prompt_tuning_init"] = prompt_tuning_init;
  out["prompt_tuning_init_text"] = text_or_null_of(prompt_tuning_init_text);
  out["tokenizer_kwargs"] = nullptr;
  out["tokenizer_name_or_path"] = text_or_null_of(tokenizer_name_or_path);
  return out;
}

}  // namespace graft::models
