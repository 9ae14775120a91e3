// The files from before tokenizer.json, read as `transformers` converts them.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "base/json.h"
#include "text/folder_config.h"

namespace graft::text {

// Legacy files as the text of a tokenizer.json.
struct ConvertedText {
  std::string json;
  std::vector<double> scores = {};  // exact scores of a Unigram model; the text rounds them
};

// Sets `origin` to the file that was read. Throws Error if no file is found (the message lists the file
// names) or if the class needs other files (the message names the class).
ConvertedText convert_legacy(const FolderConfig& config, std::filesystem::path& origin);

// One function per kind of file (legacy_wordpiece.cpp, legacy_bpe.cpp, legacy_sentencepiece.cpp).
std::string convert_vocab_txt(const std::filesystem::path& path, const FolderConfig& config);
std::string convert_vocab_json(const std::filesystem::path& vocab, const std::filesystem::path& merges,
                               const FolderConfig& config);
ConvertedText convert_sentencepiece(const std::filesystem::path& path, const FolderConfig& config);

// The "added_tokens" block of these tokens, in the order of their ids.
Json added_tokens_block(std::vector<TokenSpec> tokens);

// A special token of the vocabulary: its flags come from the files, else from `fallback`.
TokenSpec special_token(const FolderConfig& config, TokenSpec fallback);

// <cls> A <sep> and <cls> A <sep> B <sep>; `roberta` doubles the separator and keeps type id 0.
Json template_block(const std::string& cls, int64_t cls_id, const std::string& sep, int64_t sep_id,
                    bool roberta);
// A <eos> and A <eos> B <eos>, as T5; all type ids are 0.
Json end_template(const std::string& eos, int64_t eos_id);

}  // namespace graft::text
