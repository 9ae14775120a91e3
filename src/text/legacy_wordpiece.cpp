// vocab.txt: one WordPiece token per line; the line number, from 0, is the id.
#include <algorithm>
#include <string_view>

#include "base/error.h"
#include "base/file.h"
#include "base/utf8.h"
#include "text/json_text.h"
#include "text/legacy.h"

namespace graft::text {
namespace {

std::vector<std::string_view> read_lines(std::string_view text, const std::string& where) {
  std::vector<std::string_view> lines;
  for (size_t pos = 0; pos < text.size();) {
    size_t end = text.find('\n', pos);
    if (end == std::string_view::npos) end = text.size();
    std::string_view line = text.substr(pos, end - pos);
    // An editor's spaces at the end of a line are no part of the token, as in the reference.
    if (const size_t last = line.find_last_not_of(" \t\r"); last != std::string_view::npos)
      line = line.substr(0, last + 1);
    else if (!line.empty() && line.back() == '\r')
      line.remove_suffix(1);
    if (utf8::find_invalid(line) != std::string_view::npos)
      fail("{}: line {} is not valid UTF-8", where, lines.size() + 1);
    lines.push_back(line);
    pos = end + 1;
  }
  if (lines.empty()) fail_with("the file must hold one token a line", "{}: is empty", where);
  return lines;
}

int64_t id_of(const std::vector<std::string_view>& tokens, const std::string& token) {
  const auto it = std::find(tokens.rbegin(), tokens.rend(), token);  // the last of several equal lines counts
  return it == tokens.rend() ? -1 : tokens.rend() - it - 1;
}

Json normalizer_block(const FolderConfig& config) {
  const auto strip = config.tokenizer_config.find("strip_accents");
  return {{"type", "BertNormalizer"},
          {"clean_text", true},
          {"handle_chinese_chars", config.flag("tokenize_chinese_chars", true)},
          {"strip_accents", strip == config.tokenizer_config.end() ? Json(nullptr) : *strip},
          {"lowercase", config.flag("do_lower_case", true)}};
}

}  // namespace

std::string convert_vocab_txt(const std::filesystem::path& path, const FolderConfig& config) {
  const MappedFile file(path);
  const auto tokens = read_lines(utf8::without_bom(file.text()), path.string());
  const bool mpnet = config.tokenizer_class() == "MPNetTokenizer";
  const std::string unk = config.role("unk_token", "[UNK]");
  const std::string cls = config.role("cls_token", mpnet ? "<s>" : "[CLS]");
  const std::string sep = config.role("sep_token", mpnet ? "</s>" : "[SEP]");
  const std::string pad = config.role("pad_token", mpnet ? "<pad>" : "[PAD]");
  const std::string mask = config.role("mask_token", mpnet ? "<mask>" : "[MASK]");
  const auto has_id = [&](const std::string& token) { return id_of(tokens, token) >= 0; };
  const auto new_ids = config.new_ids(has_id, static_cast<int64_t>(tokens.size()));
  const auto special_id = [&](const std::string& token) {
    if (const int64_t id = id_of(tokens, token); id >= 0) return id;
    if (const auto it = new_ids.find(token); it != new_ids.end()) return it->second;
    fail_with("is this the vocab.txt of a BERT-like model?",
              "{}: the special token {:?} is not in the vocabulary", path.string(), token);
  };
  if (!has_id(unk)) special_id(unk);
  std::vector<TokenSpec> specials;
  for (const std::string& token : {unk, cls, sep, pad, mask}) {
    const int64_t id = id_of(tokens, token);
    const bool seen =
        std::any_of(specials.begin(), specials.end(), [&](const auto& t) { return t.content == token; });
    if (id >= 0 && !seen)
      specials.push_back(special_token(config, {id, token, true, mpnet && token == mask}));
  }
  Json blocks = {{"version", "1.0"}, {"truncation", nullptr}, {"padding", nullptr}};
  blocks["added_tokens"] = added_tokens_block(specials);
  blocks["normalizer"] = normalizer_block(config);
  blocks["pre_tokenizer"] = {{"type", "BertPreTokenizer"}};
  blocks["post_processor"] = template_block(cls, special_id(cls), sep, special_id(sep), mpnet);
  blocks["decoder"] = {{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}};
  std::string text = blocks.dump();
  text.back() = ',';
  text += R"("model":{"type":"WordPiece","unk_token":)";
  append_json_string(text, unk);
  text += R"(,"continuing_subword_prefix":"##","max_input_chars_per_word":100,"vocab":)";
  append_json_vocab(text, tokens);
  return text + "}}";
}

}  // namespace graft::text
