// Which tokenizer classes of the reference graft implements, and from which files.
#pragma once
#include <string>

#include "text/file_tokenizer.h"
#include "text/folder_config.h"

namespace graft::text {

// The legacy files that a class is read from.
enum class LegacyFiles { vocab_txt, vocab_json, sentencepiece, none };

// Throws Error for a class that is implemented in Python code and, without a tokenizer.json, for a class that
// is not implemented. The message names the class, the file, the reason and the remedy.
void check_class(const FolderConfig& config, bool has_tokenizer_json);

// The files of the folder's class; `none` when no class is named.
LegacyFiles legacy_files_of(const FolderConfig& config);

// Applies the settings of tokenizer_config.json and the defaults of the class to the blocks of a
// tokenizer.json: the normalizers of BERT-like classes and of ALBERT, add_prefix_space, and trim_offsets of
// the byte-level classes.
void apply_settings(const FolderConfig& config, TokenizerParts& parts);

// The same for the special tokens around a text. Call it after all tokens are added.
void apply_roles(const FolderConfig& config, TokenizerParts& parts);

// The parts of apply_settings and apply_roles for the class `name`, which is read from a sentencepiece model.
void override_sentencepiece(const FolderConfig& config, const std::string& name, TokenizerParts& parts);
void override_end_tokens(const FolderConfig& config, const std::string& name, TokenizerParts& parts);

}  // namespace graft::text
