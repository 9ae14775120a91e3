// What the small files of a tokenizer's folder say: settings, special tokens, the class.
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/json.h"

namespace graft::text {

// A token as files describe it, with the reference's flags; `source` is the file's name.
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
  // Special tokens by role: "cls_token" and whatever else ends in "_token". An empty content is null in the
  // file.
  std::vector<std::pair<std::string, TokenSpec>> named;
  // additional_special_tokens and extra_special_tokens.
  std::vector<TokenSpec> extra;
  // Tokens of special_tokens_map.json and added_tokens.json that do not count, because the reference does not
  // read these two beside an added_tokens_decoder.
  std::vector<TokenSpec> ignored;

  // "BertTokenizer" or the like without "Fast", else derived from config.json's model_type, else "".
  std::string tokenizer_class() const;
  // As it is written, from tokenizer_config.json, else from config.json; "" when neither names one.
  std::string written_class() const;
  const TokenSpec* find_role(const std::string& name) const;
  // The text of a special token by role, or `fallback`.
  std::string role(const char* name, const std::string& fallback) const;
  bool flag(const char* name, bool fallback) const;
  // Ids for the tokens that `has_id` does not know, from `next` on, in the order in which the reference adds
  // them.
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

// Reads the files that are there. Every setting that decides what a text becomes is checked: a value of
// another type than the reference's is an Error naming the file and the key.
FolderConfig read_folder_config(const std::filesystem::path& folder);

}  // namespace graft::text
