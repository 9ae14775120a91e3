// Post-processors of tokenizer.json: special tokens around one or two sequences, trimmed offsets, type ids.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "text/vocab.h"

namespace graft::text {

// One entry of a template: a special token or the text of sequence 0 or 1.
struct TemplatePiece {
  int32_t sequence = -1;  // -1: special tokens
  int32_t type_id = 0;
  std::vector<int32_t> ids;  // the special tokens' ids
};

struct PostProcessor {
  std::vector<TemplatePiece> single, pair;
  bool trims_offsets = false;     // offsets exclude the white space at the ends of a token
  bool add_prefix_space = false;  // ... except one space that the pre-tokenizer adds in front
  bool is_template = false;       // TemplateProcessing
  int32_t num_special(bool is_pair) const;
};

// From the "post_processor" block; null means the bare sequences.
PostProcessor make_post_processor(const Json& json, const std::string& where);

}  // namespace graft::text
