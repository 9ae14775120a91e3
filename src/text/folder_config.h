// The small files of a tokenizer's folder: settings, special tokens, the class.
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/json.h"

namespace graft::text {

// A token of these files, with the reference's flags; `source` is the name of the file.
struct TokenSpec {
  int64_t id = -1;  // -1: the file gives none
  std::string content;
  bool special = true, lstrip = false, rstrip = false, normalized = false, single_word = false;
  std::string source = {};
};

struct FolderConfig {
  std::filesystem::path folder;
  Json tokenizer_config = Json::object();    // tokenizer_config.json
  Json special_tokens_map = Json::object();  // special_tokens_map.json
  Json added_tokens = Json::object();        // added_tokens.json: token -> id
  Json model_config = Json::object();        // config.json

  // tokenizer_config.json's added_tokens_decoder, else added_tokens.json; by id.
  std::vector<TokenSpec> numbered;
  // Special tokens by role: "cls_token" and every other key that ends in "_token". An empty content stands
  // for null in the file.
  std::vector<std::pair<std::string, TokenSpec>> named;
  // additional_special_tokens and extra_special_tokens.
  std::vector<TokenSpec> extra;
  // Tokens of special_tokens_map.json and added_tokens.json that are not added: the reference does not read
  // these two files if there is an added_tokens_decoder.
  std::vector<TokenSpec> ignored;

  // "BertTokenizer" or the like without "Fast", else derived from config.json's model_type, else "".
  std::string tokenizer_class() const;
  // The class name as written in tokenizer_config.json, else in config.json; "" if neither has one.
  std::string written_class() const;
  const TokenSpec* find_role(const std::string& name) const;
  // The text of a special token by role, or `fallback`.
  std::string role(const char* name, const std::string& fallback) const;
  bool flag(const char* name, bool fallback) const;
  bool has_flag(const char* name) const;  // there, and not null
  // Ids, from `next` on, for the tokens without an id (has_id is false), in the order in which the reference
  // adds them.
  template <class HasId>
  std::map<std::string, int64_t> new_ids(HasId has_id, int64_t next) const {
    std::map<std::string, int64_t> ids;
    const auto see = [&](const TokenSpec& t) {
      if (!t.content.empty() && !has_id(t.content) && ids.emplace(t.content, next).second) ++next;
    };
    for (const TokenSpec& t : numbered) see(t);
    for (const auto& [name, t] : named) see(t);
    for (const TokenSpec& t : extra) see(t);
    return ids;
  }
};

// Reads the existing files. Checks every setting that changes ids: a value of a type that the reference does
// not accept is an Error with the file and the key.
FolderConfig read_folder_config(const std::filesystem::path& folder);

}  // namespace graft::text
