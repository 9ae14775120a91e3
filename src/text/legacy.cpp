#include "text/legacy.h"

#include <algorithm>

#include "base/error.h"
#include "base/folder.h"
#include "text/class_table.h"

namespace graft::text {

TokenSpec special_token(const FolderConfig& config, TokenSpec fallback) {
  for (const auto& [role, token] : config.named)
    if (token.content == fallback.content) {
      const Json& written = (token.source == "special_tokens_map.json" ? config.special_tokens_map
                                                                       : config.tokenizer_config)[role];
      if (!written.is_object()) continue;  // a string: the class defines the flags
      TokenSpec t = token;
      t.id = fallback.id;
      return t;
    }
  return fallback;
}

Json added_tokens_block(std::vector<TokenSpec> tokens) {
  std::stable_sort(tokens.begin(), tokens.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
  Json block = Json::array();
  for (const TokenSpec& t : tokens)
    block.push_back({{"id", t.id},
                     {"content", t.content},
                     {"single_word", t.single_word},
                     {"lstrip", t.lstrip},
                     {"rstrip", t.rstrip},
                     {"normalized", t.normalized},
                     {"special", t.special}});
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

Json end_template(const std::string& eos, int64_t eos_id) {
  const auto sequence = [](const char* id) { return Json{{"Sequence", {{"id", id}, {"type_id", 0}}}}; };
  const Json end = {{"SpecialToken", {{"id", eos}, {"type_id", 0}}}};
  Json tokens = Json::object();
  tokens[eos] = {{"id", eos}, {"ids", Json::array({eos_id})}, {"tokens", Json::array({eos})}};
  return {{"type", "TemplateProcessing"},
          {"single", Json::array({sequence("A"), end})},
          {"pair", Json::array({sequence("A"), end, sequence("B"), end})},
          {"special_tokens", tokens}};
}

namespace {

constexpr const char* kSentencePieceFiles[] = {"sentencepiece.bpe.model", "spiece.model", "spm.model",
                                               "tokenizer.model"};

bool is_in(const FolderConfig& config, const char* name) { return path_exists(config.folder / name); }

const char* sentencepiece_file(const FolderConfig& config) {
  for (const char* name : kSentencePieceFiles)
    if (is_in(config, name)) return name;
  return nullptr;
}

// If the folder has several kinds of files, the class decides. Without a class, the order below decides.
LegacyFiles choose_files(const FolderConfig& config) {
  const bool txt = is_in(config, "vocab.txt"), json = is_in(config, "vocab.json"),
             piece = sentencepiece_file(config) != nullptr;
  const LegacyFiles wanted = legacy_files_of(config);
  const bool there = wanted == LegacyFiles::vocab_txt    ? txt
                     : wanted == LegacyFiles::vocab_json ? json
                                                         : wanted == LegacyFiles::sentencepiece && piece;
  if (there) return wanted;
  const LegacyFiles found = txt     ? LegacyFiles::vocab_txt
                            : piece ? LegacyFiles::sentencepiece
                            : json  ? LegacyFiles::vocab_json
                                    : LegacyFiles::none;
  if (wanted == LegacyFiles::none || found == LegacyFiles::none) return found;
  const auto name = [](LegacyFiles files) {
    return files == LegacyFiles::vocab_txt    ? "a vocab.txt"
           : files == LegacyFiles::vocab_json ? "a vocab.json with a merges.txt"
                                              : "a sentencepiece model";
  };
  fail_with(
      "copy the class's own files into the folder, or correct tokenizer_class (of tokenizer_config.json or "
      "config.json)",
      "{}: the tokenizer class {} is read from {}, but the folder has {}", config.folder.string(),
      config.tokenizer_class(), name(wanted), name(found));
}

}  // namespace

ConvertedText convert_legacy(const FolderConfig& config, std::filesystem::path& origin) {
  switch (choose_files(config)) {
    case LegacyFiles::vocab_txt:
      origin = config.folder / "vocab.txt";
      return {convert_vocab_txt(origin, config)};
    case LegacyFiles::sentencepiece:
      origin = config.folder / sentencepiece_file(config);
      return convert_sentencepiece(origin, config);
    case LegacyFiles::vocab_json:
      origin = config.folder / "vocab.json";
      if (!is_in(config, "merges.txt"))
        fail_with("copy merges.txt from where vocab.json came from", "{}: has vocab.json, but no merges.txt",
                  config.folder.string());
      return {convert_vocab_json(origin, config.folder / "merges.txt", config)};
    case LegacyFiles::none:
      break;
  }
  fail_with("download the tokenizer's files into the folder as well",
            "{}: no tokenizer here (looked for tokenizer.json, vocab.txt, vocab.json + merges.txt, "
            "sentencepiece.bpe.model, spiece.model, spm.model, tokenizer.model)",
            config.folder.string());
}

}  // namespace graft::text
