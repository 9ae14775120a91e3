#include "text/folder_config.h"

#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "base/folder.h"
#include "text/settings.h"

namespace graft::text {
namespace {

// In the order in which the reference adds new tokens (SPECIAL_TOKENS_ATTRIBUTES).
constexpr const char* kRoleNames[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                      "pad_token", "cls_token", "mask_token"};

Json read_if_there(const std::filesystem::path& path) {
  if (!path_exists(path)) return Json::object();
  Json json = read_json(path);
  if (!json.is_object()) fail("{}: must hold an object", path.string());
  return json;
}

bool is_role(const std::string& name) {
  return std::find(std::begin(kRoleNames), std::end(kRoleNames), name) != std::end(kRoleNames);
}

// A file with special tokens, for messages and as the source of its tokens.
struct File {
  std::filesystem::path folder;
  std::string name;
  std::string where(const std::string& key) const {
    return fmt::format("{}: {:?}", (folder / name).string(), key);
  }
};

// A token written as a string or as an object with its content and flags. `special` is the default of its
// flag "special".
TokenSpec read_token(const Json& json, const File& file, const std::string& key, bool special) {
  TokenSpec t;
  t.special = special;
  t.source = file.name;
  if (json.is_string()) {
    t.content = json.get<std::string>();
    return t;
  }
  if (!json.is_object() || !json.contains("content") || !json["content"].is_string())
    fail("{} must be a string or an object with its content, not {}", file.where(key),
         json.dump().substr(0, 100));
  t.content = json["content"].get<std::string>();
  const auto flag = [&](const char* name, bool fallback) {
    const auto it = json.find(name);
    if (it == json.end() || it->is_null()) return fallback;
    if (!it->is_boolean())
      fail("{}: {:?} of the token {:?} must be true or false, not {}", file.where(key), name, t.content,
           it->dump());
    return it->get<bool>();
  };
  t.special = special || flag("special", false);
  t.lstrip = flag("lstrip", false);
  t.rstrip = flag("rstrip", false);
  t.normalized = flag("normalized", !t.special);
  t.single_word = flag("single_word", false);
  return t;
}

void set_role(FolderConfig& config, const std::string& name, TokenSpec token) {
  const auto it = std::find_if(config.named.begin(), config.named.end(),
                               [&](const auto& entry) { return entry.first == name; });
  if (it == config.named.end())
    config.named.emplace_back(name, std::move(token));
  else
    it->second = std::move(token);
}

bool has_content(const std::vector<TokenSpec>& tokens, const std::string& content) {
  return std::any_of(tokens.begin(), tokens.end(), [&](const TokenSpec& t) { return t.content == content; });
}

void add_extra(FolderConfig& config, const Json& list, const File& file, const std::string& key) {
  if (list.is_null()) return;
  if (list.is_object() && key == "extra_special_tokens") {
    for (const auto& [name, token] : list.items()) set_role(config, name, read_token(token, file, key, true));
    return;
  }
  if (!list.is_array())
    fail("{} must be a list of tokens{}, not {}", file.where(key),
         key == "extra_special_tokens" ? " or an object of names and tokens" : "",
         list.dump().substr(0, 100));
  for (const Json& token : list)
    if (TokenSpec t = read_token(token, file, key, true); !has_content(config.extra, t.content))
      config.extra.push_back(std::move(t));
}

// Special tokens of tokenizer_config.json or special_tokens_map.json. The latter is read second: it replaces
// roles and adds to the lists.
void read_special_tokens(FolderConfig& config, const Json& json, const File& file) {
  const auto add_role = [&](const std::string& name, const Json& value) {
    set_role(config, name, value.is_null() ? TokenSpec{} : read_token(value, file, name, true));
  };
  for (const char* name : kRoleNames)
    if (json.contains(name)) add_role(name, json[name]);
  for (const auto& [name, value] : json.items())  // image_token, ...; add_bos_token is a setting
    if (name.ends_with("_token") && !is_role(name) && (value.is_string() || value.is_object()))
      add_role(name, value);
  for (const char* name : {"extra_special_tokens", "additional_special_tokens"})
    if (json.contains(name)) add_extra(config, json[name], file, name);
}

// tokenizer_config.json's added_tokens_decoder: {"30522": {"content": ...}}
void read_decoder(FolderConfig& config, const Json& json, const File& file) {
  const std::string key = "added_tokens_decoder";
  if (!json.is_object())
    fail("{} must be an object of ids and tokens, not {}", file.where(key), json.dump().substr(0, 100));
  for (const auto& [id, block] : json.items()) {
    if (!block.is_object()) fail("{}: the token {} must be an object with its content", file.where(key), id);
    TokenSpec t = read_token(block, file, key, false);
    const auto [end, error] = std::from_chars(id.data(), id.data() + id.size(), t.id);
    if (error != std::errc() || end != id.data() + id.size() || t.id < 0)
      fail("{}: {:?} is not a token's id", file.where(key), id);
    config.numbered.push_back(std::move(t));
  }
}

// added_tokens.json: {"<user>": 30522}. A token is special if another file lists it as special.
void read_added_tokens_file(FolderConfig& config, std::vector<TokenSpec>& out) {
  const std::string where = (config.folder / "added_tokens.json").string();
  for (const auto& [content, id] : config.added_tokens.items()) {
    if (!id.is_number_integer() || id.get<int64_t>() < 0)
      fail("{}: the id of {:?} must be an integer from 0 on, not {}", where, content,
           id.dump().substr(0, 100));
    TokenSpec t;
    t.id = id.get<int64_t>();
    t.content = content;
    t.special = has_content(config.extra, content) ||
                std::any_of(config.named.begin(), config.named.end(),
                            [&, &c = content](const auto& entry) { return entry.second.content == c; });
    t.normalized = !t.special;
    t.source = "added_tokens.json";
    out.push_back(std::move(t));
  }
}

void read_tokens(FolderConfig& config) {
  const File settings{config.folder, "tokenizer_config.json"}, map{config.folder, "special_tokens_map.json"};
  read_special_tokens(config, config.tokenizer_config, settings);
  if (config.tokenizer_config.contains("added_tokens_decoder")) {
    read_decoder(config, config.tokenizer_config["added_tokens_decoder"], settings);
    FolderConfig unread;
    unread.folder = config.folder;
    unread.added_tokens = config.added_tokens;
    read_special_tokens(unread, config.special_tokens_map, map);
    read_added_tokens_file(unread, config.ignored);
    for (const auto& [name, token] : unread.named) config.ignored.push_back(token);
    config.ignored.insert(config.ignored.end(), unread.extra.begin(), unread.extra.end());
  } else {
    read_special_tokens(config, config.special_tokens_map, map);
    read_added_tokens_file(config, config.numbered);
  }
  std::stable_sort(config.numbered.begin(), config.numbered.end(),
                   [](const TokenSpec& a, const TokenSpec& b) { return a.id < b.id; });
}

}  // namespace

std::string FolderConfig::written_class() const {
  for (const Json* json : {&tokenizer_config, &model_config})
    if (std::string name =
            json->value("tokenizer_class", Json()).is_string() ? json->value("tokenizer_class", "") : "";
        !name.empty())
      return name;
  return "";
}

std::string FolderConfig::tokenizer_class() const {
  std::string name = written_class();
  if (name != "PreTrainedTokenizerFast" && name.ends_with("Fast")) name.resize(name.size() - 4);
  if (!name.empty()) return name;
  static const std::pair<const char*, const char*> kByModelType[] = {
      {"bert", "BertTokenizer"},       {"distilbert", "DistilBertTokenizer"},
      {"electra", "ElectraTokenizer"}, {"mpnet", "MPNetTokenizer"},
      {"roberta", "RobertaTokenizer"}, {"gpt2", "GPT2Tokenizer"},
      {"deberta", "DebertaTokenizer"}, {"deberta-v2", "DebertaV2Tokenizer"},
      {"albert", "AlbertTokenizer"},   {"xlm-roberta", "XLMRobertaTokenizer"},
      {"t5", "T5Tokenizer"},           {"mt5", "T5Tokenizer"},
      {"llama", "LlamaTokenizer"},
  };
  const std::string type = model_config.value("model_type", "");
  for (const auto& [model_type, tokenizer] : kByModelType)
    if (type == model_type) return tokenizer;
  return "";
}

const TokenSpec* FolderConfig::find_role(const std::string& name) const {
  for (const auto& [role, token] : named)
    if (role == name) return &token;
  return nullptr;
}

std::string FolderConfig::role(const char* name, const std::string& fallback) const {
  const TokenSpec* token = find_role(name);
  return token && !token->content.empty() ? token->content : fallback;
}

bool FolderConfig::flag(const char* name, bool fallback) const {
  const auto it = tokenizer_config.find(name);
  return it != tokenizer_config.end() && it->is_boolean() ? it->get<bool>() : fallback;
}

bool FolderConfig::has_flag(const char* name) const {
  const auto it = tokenizer_config.find(name);
  return it != tokenizer_config.end() && it->is_boolean();
}

FolderConfig read_folder_config(const std::filesystem::path& folder) {
  FolderConfig config;
  config.folder = folder;
  config.tokenizer_config = read_if_there(folder / "tokenizer_config.json");
  config.special_tokens_map = read_if_there(folder / "special_tokens_map.json");
  config.added_tokens = read_if_there(folder / "added_tokens.json");
  config.model_config = read_if_there(folder / "config.json");
  check_settings(config.tokenizer_config, (folder / "tokenizer_config.json").string());
  check_model_settings(config.model_config, (folder / "config.json").string());
  read_tokens(config);
  return config;
}

}  // namespace graft::text
