#include "text/special_tokens.h"

#include <algorithm>

#include "base/error.h"
#include "base/log.h"

namespace graft::text {
namespace {

// The id of an existing token, else the next free id.
int32_t id_for(const TokenizerParts& parts, const std::string& content, bool& is_new) {
  is_new = false;
  if (const AddedToken* known = parts.added.by_content(content)) return known->id;
  if (const int32_t id = parts.model->vocab.find(content); id >= 0) return id;
  is_new = true;
  int32_t next = parts.model->vocab.end_id();
  for (const AddedToken& t : parts.added.tokens()) next = std::max(next, t.id + 1);
  return next;
}

void add(const TokenSpec& t, bool special, TokenizerParts& parts) {
  if (t.content.empty()) return;
  AddedToken token{0, t.content, t.single_word, t.lstrip, t.rstrip, t.normalized, special, t.source};
  bool is_new = false;
  token.id = id_for(parts, t.content, is_new);
  if (t.id >= 0 && t.id != token.id)
    log_warning("{}: the token {:?} has the id {} there, but is read as {}, {}, as transformers does",
                t.source, t.content, t.id, token.id,
                is_new ? "the next free id" : "its id in the vocabulary");
  if (const AddedToken* known = parts.added.by_content(t.content)) {
    if (known->has_same_flags(token)) return;
    token.source = known->source;
  } else if (!is_new) {
    token.source = parts.source;
  }
  parts.added.add(std::move(token));
}

bool is_named(const FolderConfig& config, const std::string& content) {
  return std::any_of(config.named.begin(), config.named.end(),
                     [&](const auto& entry) { return entry.second.content == content; });
}

// The token of a role that no file names: the usual spelling, if the tokenizer has such a token.
std::string usual_token(const std::string& role, const TokenizerParts& parts,
                        const std::string& tokenizer_class) {
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
  const bool t5 =
      tokenizer_class == "T5Tokenizer" && (role == "cls_token" || role == "sep_token" || role == "bos_token");
  for (const std::string& token : kUsual.at(role))
    if (parts.added.by_content(token) || parts.model->vocab.find(token) >= 0) return t5 ? "" : token;
  return "";
}

void warn_of_ignored(const FolderConfig& config, const TokenizerParts& parts) {
  std::string names;
  for (const TokenSpec& t : config.ignored)
    if (!t.content.empty() && !parts.added.by_content(t.content) &&
        names.find(t.content) == std::string::npos)
      names += fmt::format("{}{:?} ({})", names.empty() ? "" : ", ", t.content, t.source);
  if (!names.empty())
    log_warning(
        "{}: the added_tokens_decoder of tokenizer_config.json counts alone, as in transformers; not read as "
        "added "
        "tokens: {}. List them in added_tokens_decoder or in extra_special_tokens",
        config.folder.string(), names);
}

}  // namespace

void add_special_tokens(const FolderConfig& config, TokenizerParts& parts) {
  const bool has_decoder = config.tokenizer_config.contains("added_tokens_decoder");
  for (const TokenSpec& t : config.numbered)  // added_tokens.json only adds new tokens
    if (has_decoder || !parts.added.by_content(t.content))
      add(t, t.special || is_named(config, t.content), parts);
  for (const auto& [name, t] : config.named)
    if (!parts.added.by_content(t.content)) add(t, true, parts);
  for (const TokenSpec& t : config.extra)
    if (!parts.added.by_content(t.content)) add(t, true, parts);
  parts.added.set_splits_special(config.flag("split_special_tokens", false));
  warn_of_ignored(config, parts);
}

void find_roles(const FolderConfig& config, TokenizerParts& parts) {
  for (const char* role :
       {"unk_token", "cls_token", "sep_token", "pad_token", "mask_token", "bos_token", "eos_token"})
    if (!config.find_role(role))  // null in a file: the role has no token
      if (std::string token = usual_token(role, parts, config.tokenizer_class()); !token.empty())
        parts.roles[role] = token;
  for (const auto& [role, token] : config.named)
    if (!token.content.empty()) parts.roles[role] = token.content;
}

}  // namespace graft::text
