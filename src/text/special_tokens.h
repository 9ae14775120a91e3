// Applies the special tokens and settings of the small files to a tokenizer that was read.
#pragma once
#include "text/file_tokenizer.h"
#include "text/folder_config.h"

namespace graft::text {

// Adds the tokens of added_tokens_decoder, added_tokens.json, the roles and the lists of special tokens, in
// the reference's order: one that the vocabulary has keeps its id, another gets the next free one.
void add_special_tokens(const FolderConfig& config, TokenizerParts& parts);

// Sets the roles: "cls_token" -> "[CLS]".
void find_roles(const FolderConfig& config, TokenizerParts& parts);

}  // namespace graft::text
