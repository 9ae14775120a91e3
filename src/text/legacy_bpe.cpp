// vocab.json + merges.txt: byte-level BPE as GPT-2, RoBERTa and DeBERTa use it.
#include <simdjson.h>

#include <algorithm>
#include <unordered_map>

#include "base/error.h"
#include "base/file.h"
#include "base/utf8.h"
#include "text/json_text.h"
#include "text/legacy.h"

namespace graft::text {
namespace {

// ["a b", ...]: the lines of merges.txt after its #version line.
void append_merges(std::string& out, std::string_view text, const std::string& where) {
  out += '[';
  bool first = true;
  size_t line_number = 0;
  for (size_t pos = 0; pos < text.size();) {
    size_t end = text.find('\n', pos);
    if (end == std::string_view::npos) end = text.size();
    std::string_view line = text.substr(pos, end - pos);
    pos = end + 1;
    ++line_number;
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (line.empty() || line.substr(0, 8) == "#version") continue;
    const size_t space = line.find(' ');
    if (space == std::string_view::npos || line.find(' ', space + 1) != std::string_view::npos)
      fail("{}: line {} must be two tokens with one space between, not {:?}", where, line_number,
           std::string(line));
    if (!first) out += ',';
    first = false;
    append_json_string(out, line);
  }
  out += ']';
}

struct Style {
  std::string bos, eos, unk, cls, sep, pad, mask;
  bool wraps;    // adds special tokens around texts
  bool doubled;  // RoBERTa's double separator
  bool trims_offsets;
};

using Ids = std::unordered_map<std::string, int64_t>;

// The class of a checkpoint that names none, by its special tokens.
std::string class_of(const FolderConfig& config, const Ids& ids) {
  std::string name = config.tokenizer_class();
  if (!name.empty()) return name;
  if (ids.count("<s>") && ids.count("</s>") && ids.count("<mask>")) return "RobertaTokenizer";
  if (ids.count("[CLS]") && ids.count("[SEP]")) return "DebertaTokenizer";
  return "GPT2Tokenizer";
}

Style style_of(const FolderConfig& config, const std::string& name) {
  const auto role = [&](const char* role_name, const char* fallback) {
    return config.role(role_name, fallback);
  };
  if (name == "DebertaTokenizer")
    return {role("bos_token", "[CLS]"),
            role("eos_token", "[SEP]"),
            role("unk_token", "[UNK]"),
            role("cls_token", "[CLS]"),
            role("sep_token", "[SEP]"),
            role("pad_token", "[PAD]"),
            role("mask_token", "[MASK]"),
            true,
            false,
            true};
  if (name == "GPT2Tokenizer")
    return {role("bos_token", "<|endoftext|>"),
            role("eos_token", "<|endoftext|>"),
            role("unk_token", "<|endoftext|>"),
            role("cls_token", ""),
            role("sep_token", ""),
            role("pad_token", ""),
            role("mask_token", ""),
            false,
            false,
            false};
  return {role("bos_token", "<s>"),
          role("eos_token", "</s>"),
          role("unk_token", "<unk>"),
          role("cls_token", "<s>"),
          role("sep_token", "</s>"),
          role("pad_token", "<pad>"),
          role("mask_token", "<mask>"),
          true,
          true,
          true};
}

Ids read_ids(const std::string& text, const std::string& where) {
  simdjson::dom::parser parser;
  simdjson::dom::object object;
  if (parser.parse(text).get_object().get(object) != simdjson::SUCCESS) {
    parse_json(text, where);  // the slow parser reports line and column
    fail("{}: must hold an object of tokens and ids", where);
  }
  Ids ids;
  ids.reserve(object.size());
  for (const auto field : object) {
    int64_t id = 0;
    if (field.value.get(id) != simdjson::SUCCESS)
      fail("{}: the id of {:?} must be an integer", where, std::string(field.key));
    ids[std::string(field.key)] = id;
  }
  return ids;
}

// GPT-2's class can put bos_token first and eos_token last. Releases differ in this, and only a
// tokenizer.json is unambiguous.
void refuse_added_ends(const FolderConfig& config, const std::filesystem::path& vocab) {
  for (const char* key : {"add_bos_token", "add_eos_token"}) {
    if (config.tokenizer_config.value(key, Json()) == Json(true))
      fail_with("save the tokenizer as tokenizer.json with transformers, or set it to false",
                "{}: tokenizer_config.json has \"{}\": true, which is not implemented for vocab.json and "
                "merges.txt",
                vocab.parent_path().string(), key);
  }
}

}  // namespace

std::string convert_vocab_json(const std::filesystem::path& vocab_path,
                               const std::filesystem::path& merges_path, const FolderConfig& config) {
  const std::string vocab_file = read_file(vocab_path);
  const std::string vocab_text(utf8::without_bom(vocab_file));
  const Ids ids = read_ids(vocab_text, vocab_path.string());
  const Style style = style_of(config, class_of(config, ids));
  refuse_added_ends(config, vocab_path);
  std::vector<TokenSpec> specials;
  for (const std::string* token :
       {&style.bos, &style.eos, &style.unk, &style.cls, &style.sep, &style.pad, &style.mask}) {
    const bool seen =
        std::any_of(specials.begin(), specials.end(), [&](const auto& t) { return t.content == *token; });
    if (const auto it = ids.find(*token); it != ids.end() && !seen)
      specials.push_back(
          special_token(config, {it->second, *token, true, *token == style.mask, false, !style.wraps}));
  }
  int64_t next = 0;
  for (const auto& [token, id] : ids) next = std::max(next, id + 1);
  const auto new_ids = config.new_ids([&](const std::string& token) { return ids.count(token) > 0; }, next);
  const auto id_of = [&](const std::string& token) {
    if (const auto it = ids.find(token); it != ids.end()) return it->second;
    if (const auto it = new_ids.find(token); it != new_ids.end()) return it->second;
    fail("{}: the special token {:?} is not in the vocabulary", vocab_path.string(), token);
  };
  const bool prefix = config.flag("add_prefix_space", false);
  Json blocks = {{"version", "1.0"}, {"truncation", nullptr}, {"padding", nullptr}};
  blocks["added_tokens"] = added_tokens_block(specials);
  blocks["normalizer"] = nullptr;
  blocks["pre_tokenizer"] = {
      {"type", "ByteLevel"}, {"add_prefix_space", prefix}, {"trim_offsets", true}, {"use_regex", true}};
  if (style.wraps && style.doubled)
    blocks["post_processor"] = {{"type", "RobertaProcessing"},
                                {"sep", Json::array({style.sep, id_of(style.sep)})},
                                {"cls", Json::array({style.cls, id_of(style.cls)})},
                                {"trim_offsets", config.flag("trim_offsets", style.trims_offsets)},
                                {"add_prefix_space", prefix}};
  else if (style.wraps)
    blocks["post_processor"] =
        template_block(style.cls, id_of(style.cls), style.sep, id_of(style.sep), false);
  else
    blocks["post_processor"] = {
        {"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", false}, {"use_regex", true}};
  blocks["decoder"] = {
      {"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}};
  std::string text = blocks.dump();
  text.back() = ',';
  text +=
      R"("model":{"type":"BPE","dropout":null,"unk_token":null,"continuing_subword_prefix":"","end_of_word_suffix":"","fuse_unk":false,"byte_fallback":false,"vocab":)";
  text += vocab_text;
  text += R"(,"merges":)";
  append_merges(text, utf8::without_bom(MappedFile(merges_path).text()), merges_path.string());
  return text + "}}";
}

}  // namespace graft::text
