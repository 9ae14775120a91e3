// Loading a folder and saving into one.
#include <algorithm>

#include "base/checkpoint_files.h"
#include "base/error.h"
#include "base/file.h"
#include "base/folder.h"
#include "text/file_tokenizer.h"
#include "text/json_text.h"
#include "text/legacy.h"
#include "text/tokenizer_json.h"

namespace graft {
namespace text {
namespace {

constexpr const char* kRoles[] = {"unk_token",  "cls_token", "sep_token", "pad_token",
                                  "mask_token", "bos_token", "eos_token"};

// Roles that no file names: the usual spellings, if the tokenizer has them.
std::string usual_token(const std::string& role, const TokenizerParts& parts,
                        const std::string& model_class) {
  static const std::map<std::string, std::vector<std::string>> kUsual = {{"unk_token", {"[UNK]", "<unk>"}},
                                                                         {"cls_token", {"[CLS]", "<s>"}},
                                                                         {"sep_token", {"[SEP]", "</s>"}},
                                                                         {"pad_token", {"[PAD]", "<pad>"}},
                                                                         {"mask_token", {"[MASK]", "<mask>"}},
                                                                         {"bos_token", {"<s>"}},
                                                                         {"eos_token", {"</s>"}}};
  const bool gpt2 = parts.added.by_content("<|endoftext|>") &&
                    (role == "bos_token" || role == "eos_token" || role == "unk_token");
  if (gpt2) return "<|endoftext|>";
  for (const std::string& token : kUsual.at(role))
    if (parts.added.by_content(token) || parts.model->vocab.find(token) >= 0) {
      const bool t5 =
          model_class == "T5Tokenizer" && (role == "cls_token" || role == "sep_token" || role == "bos_token");
      return t5 ? "" : token;
    }
  return "";
}

void find_roles(const FolderConfig& config, TokenizerParts& parts) {
  for (const char* role : kRoles) {
    std::string token = config.role(role, "");
    if (token.empty()) token = usual_token(role, parts, config.tokenizer_class());
    if (!token.empty()) parts.roles[role] = token;
  }
}

// What tokenizer_config.json says explicitly goes before the file's own blocks, as in the reference's
// classes.
void apply_config(const FolderConfig& config, TokenizerParts& parts) {
  const Json& c = config.tokenizer_config;
  Json& normalizer = parts.blocks["normalizer"];
  if (normalizer.is_object() && normalizer.value("type", "") == "BertNormalizer") {
    Json wanted = normalizer;
    for (const auto& [name, field] :
         {std::pair("do_lower_case", "lowercase"), std::pair("strip_accents", "strip_accents"),
          std::pair("tokenize_chinese_chars", "handle_chinese_chars")})
      if (c.contains(name) && (c[name].is_boolean() || c[name].is_null())) wanted[field] = c[name];
    if (wanted != normalizer) {
      normalizer = wanted;
      parts.normalizer = make_normalizer(wanted, parts.where);
      parts.added.refresh(parts.normalizer.get());
    }
  }
  Json& pre = parts.blocks["pre_tokenizer"];
  if (pre.is_object() && pre.value("type", "") == "ByteLevel" && c.contains("add_prefix_space") &&
      c["add_prefix_space"].is_boolean() &&
      pre.value("add_prefix_space", true) != c["add_prefix_space"].get<bool>()) {
    pre["add_prefix_space"] = c["add_prefix_space"];
    parts.pre_tokenizer = make_pre_tokenizer(pre, parts.where);
  }
}

}  // namespace

std::string FileTokenizer::added_tokens_text() const {
  std::vector<AddedToken> tokens = parts_.added.tokens();
  std::stable_sort(tokens.begin(), tokens.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
  Json list = Json::array();
  for (const AddedToken& t : tokens)
    list.push_back({{"id", t.id},
                    {"content", t.content},
                    {"single_word", t.single_word},
                    {"lstrip", t.lstrip},
                    {"rstrip", t.rstrip},
                    {"normalized", t.normalized},
                    {"special", t.special}});
  return list.dump();
}

namespace {

// Release 5 of the reference writes "TokenizersBackend", which release 4 does not have. Under
// PreTrainedTokenizerFast both take tokenizer.json as it is; under a family's own class release 5 does not
// (RobertaTokenizer builds its normalizer and pre_tokenizer anew).
std::string with_portable_class(const std::string& tokenizer_config, const std::string& origin) {
  Json json = parse_json(tokenizer_config, origin);
  if (!json.is_object() || !(json.value("tokenizer_class", Json()) == Json("TokenizersBackend")))
    return tokenizer_config;
  json["tokenizer_class"] = "PreTrainedTokenizerFast";
  return json.dump(2) + "\n";
}

}  // namespace

void FileTokenizer::save(const std::filesystem::path& folder) const {
  make_folders(folder);
  write_file(folder / "tokenizer.json",
             changed_ ? with_added_tokens(parts_.json_text, added_tokens_text()) : parts_.json_text);
  for (const auto& [name, content] : parts_.sidecars)
    write_file(folder / name, name == "tokenizer_config.json" ? with_portable_class(content, name) : content);
  if (changed_) write_json(folder / "added_tokens.json", added_outside_vocab());
}

Json FileTokenizer::added_outside_vocab() const {
  Json out = Json::object();
  for (const AddedToken& t : parts_.added.tokens())
    if (parts_.model->vocab.find(t.content) < 0) out[t.content] = t.id;
  return out;
}

}  // namespace text

std::shared_ptr<Tokenizer> Tokenizer::from_pretrained(const std::filesystem::path& folder) {
  using namespace text;
  const bool is_file = graft::is_file(folder);
  const std::filesystem::path root = is_file ? folder.parent_path() : folder;
  if (!is_file && !is_folder(folder))
    fail_with("name a checkpoint's folder or a tokenizer.json", "{}: no such folder", folder.string());
  const FolderConfig config = read_folder_config(root);
  std::filesystem::path origin = is_file ? folder : root / "tokenizer.json";
  const bool has_json = path_exists(origin);
  std::string json_text = has_json ? read_file(origin) : convert_legacy(config, origin);
  TokenizerParts parts = read_tokenizer_json(std::move(json_text), origin.string());
  parts.config = config.tokenizer_config;
  if (has_json) apply_config(config, parts);
  find_roles(config, parts);
  for (const char* name : kTokenizerFiles)
    if (path_exists(root / name)) parts.sidecars[name] = read_file(root / name);
  return std::make_shared<FileTokenizer>(std::move(parts));
}

}  // namespace graft
