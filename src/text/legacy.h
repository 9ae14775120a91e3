// The files from before tokenizer.json, read as `transformers` converts them.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "base/json.h"

namespace graft::text {

// What the folder says about itself.
struct FolderConfig {
  std::filesystem::path folder;
  Json tokenizer_config = Json::object();    // tokenizer_config.json
  Json special_tokens_map = Json::object();  // special_tokens_map.json
  Json added_tokens = Json::object();        // added_tokens.json: token -> id
  Json model_config = Json::object();        // config.json

  // "BertTokenizer" or the like without "Fast", else derived from config.json's model_type, else "".
  std::string tokenizer_class() const;
  // The text of a special token by role, or `fallback`.
  std::string role(const char* name, const std::string& fallback) const;
  bool flag(const char* name, bool fallback) const;
};
FolderConfig read_folder_config(const std::filesystem::path& folder);

// The legacy files of a folder as the text of a tokenizer.json; `origin` becomes the file that was read.
// Throws Error naming the files it looked for when there are none.
std::string convert_legacy(const FolderConfig& config, std::filesystem::path& origin);

// Each is one kind of file (legacy_wordpiece.cpp, legacy_bpe.cpp, legacy_sentencepiece.cpp).
std::string convert_vocab_txt(const std::filesystem::path& path, const FolderConfig& config);
std::string convert_vocab_json(const std::filesystem::path& vocab, const std::filesystem::path& merges,
                               const FolderConfig& config);
std::string convert_sentencepiece(const std::filesystem::path& path, const FolderConfig& config);

// {"id":...,"content":...,...} of added_tokens for special tokens with known ids, in the order of ids.
struct LegacyToken {
  int64_t id;
  std::string content;
  bool special = true, lstrip = false, rstrip = false, normalized = false, single_word = false;
};
// Specials of the vocabulary by role plus added_tokens.json and tokenizer_config.json's added_tokens_decoder.
Json added_tokens_block(std::vector<LegacyToken> tokens, const FolderConfig& config);

// <cls> A <sep> and <cls> A <sep> B <sep>; `roberta` doubles the separator and keeps type id 0.
Json template_block(const std::string& cls, int64_t cls_id, const std::string& sep, int64_t sep_id,
                    bool roberta);

}  // namespace graft::text
