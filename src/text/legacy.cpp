#include "text/legacy.h"

#include <algorithm>
#include <charconv>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/folder.h"

namespace graft::text {
namespace {

Json read_if_there(const std::filesystem::path& path) {
  if (!path_exists(path)) return Json::object();
  Json json = read_json(path);
  if (!json.is_object()) fail("{}: must hold an object", path.string());
  return json;
}

// A special token is written as a string or as an object with its content.
std::string token_content(const Json& json) {
  if (json.is_string()) return json.get<std::string>();
  if (json.is_object() && json.contains("content") && json["content"].is_string())
    return json["content"].get<std::string>();
  return "";
}

// An entry of tokenizer_config.json's added_tokens_decoder.
LegacyToken decoder_token(const std::string& id, const Json& block, const FolderConfig& config) {
  const std::string where = (config.folder / "tokenizer_config.json").string() + ": added_tokens_decoder";
  LegacyToken t{};
  const auto [end, error] = std::from_chars(id.data(), id.data() + id.size(), t.id);
  if (error != std::errc() || end != id.data() + id.size() || t.id < 0)
    fail("{}: {:?} is not a token's id", where, id);
  t.content = token_content(block);
  if (!block.is_object() || t.content.empty())
    fail("{}: the token {} must be an object with its content", where, id);
  const auto flag = [&](const char* name, bool fallback) {
    const auto it = block.find(name);
    if (it == block.end()) return fallback;
    if (!it->is_boolean()) fail("{}: {:?} of the token {} must be true or false", where, name, id);
    return it->get<bool>();
  };
  t.special = flag("special", false);
  t.lstrip = flag("lstrip", false);
  t.rstrip = flag("rstrip", false);
  t.normalized = flag("normalized", !t.special);
  t.single_word = flag("single_word", false);
  return t;
}

Json token_json(const LegacyToken& t) {
  return {{"id", t.id},          {"content", t.content}, {"single_word", t.single_word},
          {"lstrip", t.lstrip},  {"rstrip", t.rstrip},   {"normalized", t.normalized},
          {"special", t.special}};
}

}  // namespace

std::string FolderConfig::tokenizer_class() const {
  std::string name;
  for (const Json* json : {&tokenizer_config, &model_config})
    if (name.empty() && json->contains("tokenizer_class") && (*json)["tokenizer_class"].is_string())
      name = (*json)["tokenizer_class"].get<std::string>();
  if (name.size() > 4 && name.substr(name.size() - 4) == "Fast") name.resize(name.size() - 4);
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

std::string FolderConfig::role(const char* name, const std::string& fallback) const {
  for (const Json* json : {&tokenizer_config, &special_tokens_map})
    if (json->contains(name))
      if (const std::string content = token_content((*json)[name]); !content.empty()) return content;
  return fallback;
}

bool FolderConfig::flag(const char* name, bool fallback) const {
  const auto it = tokenizer_config.find(name);
  return it != tokenizer_config.end() && it->is_boolean() ? it->get<bool>() : fallback;
}

FolderConfig read_folder_config(const std::filesystem::path& folder) {
  FolderConfig config;
  config.folder = folder;
  config.tokenizer_config = read_if_there(folder / "tokenizer_config.json");
  config.special_tokens_map = read_if_there(folder / "special_tokens_map.json");
  config.added_tokens = read_if_there(folder / "added_tokens.json");
  config.model_config = read_if_there(folder / "config.json");
  return config;
}

Json added_tokens_block(std::vector<LegacyToken> tokens, const FolderConfig& config) {
  const auto find = [&](const std::string& content) {
    return std::find_if(tokens.begin(), tokens.end(),
                        [&](const LegacyToken& t) { return t.content == content; });
  };
  for (const auto& [content, id] : config.added_tokens.items()) {
    if (!id.is_number_integer()) fail("added_tokens.json: the id of {:?} must be an integer", content);
    if (find(content) == tokens.end())
      tokens.push_back({id.get<int64_t>(), content, false, false, false, true, false});
  }
  if (const auto it = config.tokenizer_config.find("added_tokens_decoder");
      it != config.tokenizer_config.end()) {
    if (!it->is_object())
      fail("{}: added_tokens_decoder must be an object", (config.folder / "tokenizer_config.json").string());
    for (const auto& [id, block] : it->items()) {
      LegacyToken t = decoder_token(id, block, config);
      if (const auto known = find(t.content); known != tokens.end()) {
        t.id = known->id;
        *known = t;
      } else {
        tokens.push_back(t);
      }
    }
  }
  std::set<std::string> specials;
  const auto collect = [&](const Json& json) {
    for (const auto& [name, value] : json.items()) {
      if (name.size() > 6 && name.substr(name.size() - 6) == "_token") specials.insert(token_content(value));
      if (name == "additional_special_tokens" && value.is_array())
        for (const Json& token : value) specials.insert(token_content(token));
    }
  };
  collect(config.special_tokens_map);
  collect(config.tokenizer_config);
  for (LegacyToken& t : tokens)
    if (specials.count(t.content) && !t.special) {
      t.special = true;
      t.normalized = false;
    }
  std::stable_sort(tokens.begin(), tokens.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
  Json block = Json::array();
  for (const LegacyToken& t : tokens) block.push_back(token_json(t));
  return block;
}

Json template_block(const std::string& cls, int64_t cls_id, const std::string& sep, int64_t sep_id,
                    bool roberta) {
  const auto special = [](const std::string& token, int type) {
    return Json{{"SpecialToken", {{"id", token}, {"type_id", type}}}};
  };
  const auto sequence = [](const char* id, int type) {
    return Json{{"Sequence", {{"id", id}, {"type_id", type}}}};
  };
  const auto definition = [](const std::string& token, int64_t id) {
    return Json{{"id", token}, {"ids", Json::array({id})}, {"tokens", Json::array({token})}};
  };
  const int second = roberta ? 0 : 1;
  Json single = Json::array({special(cls, 0), sequence("A", 0), special(sep, 0)});
  Json pair = single;
  if (roberta) pair.push_back(special(sep, 0));
  pair.push_back(sequence("B", second));
  pair.push_back(special(sep, second));
  return {{"type", "TemplateProcessing"},
          {"single", single},
          {"pair", pair},
          {"special_tokens", {{cls, definition(cls, cls_id)}, {sep, definition(sep, sep_id)}}}};
}

std::string convert_legacy(const FolderConfig& config, std::filesystem::path& origin) {
  const auto there = [&](const char* name) {
    origin = config.folder / name;
    return path_exists(origin);
  };
  if (there("vocab.txt")) return convert_vocab_txt(origin, config);
  for (const char* name : {"sentencepiece.bpe.model", "spiece.model", "spm.model", "tokenizer.model"})
    if (there(name)) return convert_sentencepiece(origin, config);
  const bool has_merges = there("merges.txt");
  if (there("vocab.json")) {
    if (!has_merges)
      fail_with("copy merges.txt from where vocab.json came from", "{}: has vocab.json, but no merges.txt",
                config.folder.string());
    return convert_vocab_json(origin, config.folder / "merges.txt", config);
  }
  fail_with("download the tokenizer's files into the folder as well",
            "{}: no tokenizer here (looked for tokenizer.json, vocab.txt, vocab.json + merges.txt, "
            "sentencepiece.bpe.model, spiece.model, spm.model, tokenizer.model)",
            config.folder.string());
}

}  // namespace graft::text
