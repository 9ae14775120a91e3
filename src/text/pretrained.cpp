// Loading a folder and saving into one.
#include "base/checkpoint_files.h"
#include "base/error.h"
#include "base/file.h"
#include "base/folder.h"
#include "text/class_table.h"
#include "text/file_tokenizer.h"
#include "text/json_text.h"
#include "text/legacy.h"
#include "text/special_tokens.h"
#include "text/tokenizer_json.h"

namespace graft {
namespace text {

std::string FileTokenizer::added_tokens_text() const {
  std::vector<TokenSpec> tokens;
  for (const AddedToken& t : parts_.added.tokens())
    tokens.push_back({t.id, t.content, t.special, t.lstrip, t.rstrip, t.normalized, t.single_word});
  return added_tokens_block(std::move(tokens)).dump();
}

namespace {

// Release 5 of the reference writes "TokenizersBackend", which release 4 does not have. With
// PreTrainedTokenizerFast both releases use tokenizer.json unchanged. With a family's own class release 5
// rebuilds parts of it (RobertaTokenizer: normalizer and pre_tokenizer).
std::string with_portable_class(const std::string& tokenizer_config, const std::string& origin) {
  Json json = parse_json(tokenizer_config, origin);
  if (!json.is_object() || !(json.value("tokenizer_class", Json()) == Json("TokenizersBackend")))
    return tokenizer_config;
  json["tokenizer_class"] = "PreTrainedTokenizerFast";
  return json.dump(2) + "\n";
}

}  // namespace

void FileTokenizer::save(const std::filesystem::path& folder) const try {
  make_folders(folder);
  write_file(folder / "tokenizer.json",
             changed_ ? with_added_tokens(parts_.json_text, added_tokens_text()) : parts_.json_text);
  for (const auto& [name, content] : parts_.sidecars)
    write_file(folder / name, name == "tokenizer_config.json" ? with_portable_class(content, name) : content);
  if (changed_) write_json(folder / "added_tokens.json", added_outside_vocab());
} catch (...) {
  rethrow_as_error();
}

Json FileTokenizer::added_outside_vocab() const {
  Json out = Json::object();
  for (const AddedToken& t : parts_.added.tokens())
    if (parts_.model->vocab.find(t.content) < 0) out[t.content] = t.id;
  return out;
}

}  // namespace text

std::shared_ptr<Tokenizer> Tokenizer::from_pretrained(const std::filesystem::path& folder) try {
  using namespace text;
  const bool is_file = graft::is_file(folder);
  const std::filesystem::path root = is_file ? folder.parent_path() : folder;
  if (!is_file && !is_folder(folder))
    fail_with("name a checkpoint's folder or a tokenizer.json", "{}: no such folder", folder.string());
  const FolderConfig config = read_folder_config(root);
  std::filesystem::path origin = is_file ? folder : root / "tokenizer.json";
  const bool has_json = path_exists(origin);
  check_class(config, has_json);
  ConvertedText text = has_json ? ConvertedText{read_file(origin)} : convert_legacy(config, origin);
  TokenizerParts parts = read_tokenizer_json(std::move(text.json), origin.string(), std::move(text.scores));
  parts.config = config.tokenizer_config;
  if (has_json) apply_settings(config, parts);
  add_special_tokens(config, parts);
  if (has_json) apply_roles(config, parts);
  find_roles(config, parts);
  for (const char* name : kTokenizerFiles)
    if (path_exists(root / name)) parts.sidecars[name] = read_file(root / name);
  return std::make_shared<FileTokenizer>(std::move(parts));
} catch (...) {
  rethrow_as_error();
}

}  // namespace graft
