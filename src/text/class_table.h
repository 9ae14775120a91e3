// Which tokenizer classes of the reference graft implements, and from which files.
#pragma once
#include <string>

#include "text/file_tokenizer.h"
#include "text/folder_config.h"

namespace graft::text {

// The legacy files that a class is read from.
enum class LegacyFiles { vocab_txt, vocab_json, sentencepiece, none };

// Throws Error naming the class, where it is named, why it cannot be used, and what to do: a class whose work
// is done by Python code, or, without a tokenizer.json, a class that is not implemented.
void check_class(const FolderConfig& config, bool has_tokenizer_json);

// The files of the folder's class; `none` when no class is named.
LegacyFiles legacy_files_of(const FolderConfig& config);

// The settings of tokenizer_config.json, and the defaults of the class, over the blocks of a tokenizer.json:
// the normalizer of BERT's kin, add_prefix_space and trim_offsets of the byte-level classes.
void apply_settings(const FolderConfig& config, TokenizerParts& parts);

// The same for cls_token and sep_token, once all tokens are added.
void apply_roles(const FolderConfig& config, TokenizerParts& parts);

}  // namespace graft::text
