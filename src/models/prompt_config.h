// The keys of adapter_config.json that prompt tuning and prefix tuning have of their own, as peft 0.21 reads
// and writes them.
#pragma once
#include <cstdint>
#include <map>
#include <string>

#include "base/json.h"

namespace graft::models {

struct PromptConfig {
  bool prefix = false;  // keys and values of every layer in place of embeddings
  int64_t num_virtual_tokens = 20;
  // Of embeddings alone:
  std::string prompt_tuning_init = "RANDOM";  // RANDOM, TEXT; in files of peft SAMPLE_VOCAB, too
  std::string prompt_tuning_init_text;
  std::string tokenizer_name_or_path;  // of that text
  // Of both. The base's: the width of its word embeddings, its layers and heads.
  int64_t token_dim = 0, num_layers = 0, num_attention_heads = 0;

  // `prefix`: of a file of prefix tuning, with a projection (prefix_projection) or without: peft saves its
  // result. Throws Error naming file and key.
  static PromptConfig read(const Json& file, const std::string& origin, bool prefix);
  std::map<std::string, Json> keys() const;
};

}  // namespace graft::models
