#include "text/tokenizer_json.h"

#include <simdjson.h>

#include "base/error.h"
#include "base/log.h"
#include "base/utf8.h"
#include "text/bpe.h"
#include "text/json_fields.h"
#include "text/serde_number.h"

namespace graft::text {
namespace {

using simdjson::dom::element;

Json to_json(const element& e) {
  switch (e.type()) {
    case simdjson::dom::element_type::OBJECT: {
      Json out = Json::object();
      for (const auto field : e.get_object()) out[std::string(field.key)] = to_json(field.value);
      return out;
    }
    case simdjson::dom::element_type::ARRAY: {
      Json out = Json::array();
      for (const element item : e.get_array()) out.push_back(to_json(item));
      return out;
    }
    case simdjson::dom::element_type::STRING:
      return std::string(std::string_view(e.get_string()));
    case simdjson::dom::element_type::INT64:
      return int64_t(e.get_int64());
    case simdjson::dom::element_type::UINT64:
      return uint64_t(e.get_uint64());
    case simdjson::dom::element_type::DOUBLE:
      return double(e.get_double());
    case simdjson::dom::element_type::BOOL:
      return bool(e.get_bool());
    default:
      return nullptr;
  }
}

constexpr int64_t kMaxId = 50'000'000;  // far above any vocabulary; bounds the memory for a damaged file

void add_entry(Vocab& vocab, std::string_view token, const element& id, const std::string& where) {
  int64_t value = -1;
  if (id.get(value) != simdjson::SUCCESS || value < 0 || value > kMaxId)
    fail("{}: the id of token {:?} must be an integer from 0 to {}", where, std::string(token), kMaxId);
  if (!vocab.add(token, static_cast<int32_t>(value)))
    fail_with("every id may stand for one token only", "{}: the id {} is given to two tokens, {:?} and {:?}",
              where, value, std::string(vocab.token(static_cast<int32_t>(value))), std::string(token));
}

// {"token": id, ...}
Vocab read_vocab_object(const element& model, const std::string& where) {
  simdjson::dom::object object;
  if (model["vocab"].get(object) != simdjson::SUCCESS)
    fail("{}: \"vocab\" must be an object of tokens and ids", where);
  Vocab vocab;
  vocab.reserve(object.size(), object.size() * 8);
  for (const auto field : object) add_entry(vocab, field.key, field.value, where);
  if (vocab.size() == 0) fail("{}: the vocabulary is empty", where);
  if (static_cast<size_t>(vocab.end_id()) != vocab.size())
    log_warning("{}: {} of the ids below {} have no token in the vocabulary", where,
                static_cast<size_t>(vocab.end_id()) - vocab.size(), vocab.end_id());
  return vocab;
}

Bpe::Merges read_merges(const element& model, const std::string& where) {
  simdjson::dom::array list;
  if (model["merges"].get(list) != simdjson::SUCCESS) fail("{}: \"merges\" must be a list", where);
  Bpe::Merges merges;
  merges.reserve(list.size());
  for (const element item : list) {
    std::string_view text;
    simdjson::dom::array pair;
    if (item.get(text) == simdjson::SUCCESS) {
      const size_t space = text.find(' ');
      if (space == std::string_view::npos || text.find(' ', space + 1) != std::string_view::npos)
        fail("{}: merge {} must be two tokens with one space between, not {:?}", where, merges.size() + 1,
             std::string(text));
      merges.emplace_back(text.substr(0, space), text.substr(space + 1));
    } else if (item.get(pair) == simdjson::SUCCESS && pair.size() == 2 && pair.at(0).is_string() &&
               pair.at(1).is_string()) {
      merges.emplace_back(std::string_view(pair.at(0)), std::string_view(pair.at(1)));
    } else {
      fail("{}: merge {} must be a string or a pair of strings", where, merges.size() + 1);
    }
  }
  return merges;
}

// The second element of each entry of model.vocab, as the reference reads numbers (serde_number.h). The
// parsed tree does not have the digits any more, so they are read from the text, whose structure is already
// checked.
std::vector<double> read_scores(const std::string& json_text, const std::string& where) {
  simdjson::ondemand::parser parser;
  auto document = parser.iterate(json_text.data(), json_text.size(), json_text.capacity());
  std::vector<double> scores;
  for (auto entry : document["model"]["vocab"].get_array()) {
    auto it = entry.get_array().begin();
    ++it;
    std::string_view digits = (*it).raw_json_token();
    const auto score = parse_serde_number(digits.substr(0, digits.find_last_not_of(" \t\r\n") + 1));
    if (!score) fail("{}: the score of entry {} is out of range: {}", where, scores.size(), digits);
    scores.push_back(*score);
  }
  return scores;
}

std::unique_ptr<Model> read_unigram(const element& model, const Json& fields, std::vector<double> exact,
                                    const TokenizerParts& parts, const std::string& where) {
  simdjson::dom::array list;
  if (model["vocab"].get(list) != simdjson::SUCCESS)
    fail("{}: \"vocab\" must be a list of [piece, score]", where);
  Vocab vocab;
  vocab.reserve(list.size(), list.size() * 8);
  int32_t id = 0;
  for (const element item : list) {
    simdjson::dom::array pair;
    std::string_view piece;
    if (item.get(pair) != simdjson::SUCCESS || pair.size() != 2 ||
        pair.at(0).get(piece) != simdjson::SUCCESS || !pair.at(1).is_number())
      fail("{}: entry {} of the vocabulary must be [piece, score]", where, id);
    vocab.add(piece, id++);
  }
  if (id == 0) fail("{}: the vocabulary is empty", where);
  std::vector<double> scores = exact.empty() ? read_scores(parts.json_text, where) : std::move(exact);
  UnigramOptions options;
  if (fields.contains("unk_id") && !fields["unk_id"].is_null())
    options.unk_id = fields["unk_id"].get<int32_t>();
  options.byte_fallback = fields.value("byte_fallback", false);
  return make_unigram(std::move(vocab), std::move(scores), options, where);
}

std::string text_or_empty(const Json& fields, const char* name) {
  const auto it = fields.find(name);
  return it == fields.end() || it->is_null() ? "" : it->get<std::string>();
}

std::unique_ptr<Model> read_bpe(const element& model, const Json& fields, const std::string& where) {
  BpeOptions options;
  options.unk_token = text_or_empty(fields, "unk_token");
  options.prefix = text_or_empty(fields, "continuing_subword_prefix");
  options.suffix = text_or_empty(fields, "end_of_word_suffix");
  options.fuse_unk = fields.value("fuse_unk", false);
  options.byte_fallback = fields.value("byte_fallback", false);
  options.ignore_merges = fields.value("ignore_merges", false);
  if (fields.contains("dropout") && !fields["dropout"].is_null())
    options.dropout = fields["dropout"].get<double>();
  return make_bpe(read_vocab_object(model, where), read_merges(model, where), options, where);
}

std::unique_ptr<Model> read_wordpiece(const element& model, const Json& fields, const std::string& where) {
  WordPieceOptions options;
  options.unk_token = fields.value("unk_token", options.unk_token);
  options.prefix = fields.value("continuing_subword_prefix", options.prefix);
  options.max_chars = fields.value("max_input_chars_per_word", options.max_chars);
  return make_wordpiece(read_vocab_object(model, where), options, where);
}

std::unique_ptr<Model> read_wordlevel(const element& model, const Json& fields, const std::string& where) {
  return make_wordlevel(read_vocab_object(model, where), fields.value("unk_token", "[UNK]"), where);
}

// Older files have no type.
std::string infer_model_type(const element& model) {
  const element vocab = model["vocab"];
  if (vocab.is_array()) return "Unigram";
  if (model["merges"].error() == simdjson::SUCCESS) return "BPE";
  if (model["continuing_subword_prefix"].error() == simdjson::SUCCESS ||
      model["max_input_chars_per_word"].error() == simdjson::SUCCESS)
    return "WordPiece";
  return "WordLevel";
}

std::unique_ptr<Model> read_model(const element& model, std::vector<double> exact, TokenizerParts& parts) {
  const std::string& where = parts.where;
  Json& fields = parts.blocks["model"];
  if (!model.is_object()) fail("{}: \"model\" must be an object", where);
  fields = Json::object();
  for (const auto field : model.get_object())
    if (field.key != "vocab" && field.key != "merges") fields[std::string(field.key)] = to_json(field.value);
  if (model["vocab"].error() != simdjson::SUCCESS) fail("{}: the model has no vocabulary", where);
  const std::string type = fields.value("type", infer_model_type(model));
  const std::string here = where + ": model " + type;
  if (type == "WordPiece") return read_wordpiece(model, fields, here);
  if (type == "BPE") return read_bpe(model, fields, here);
  if (type == "Unigram") return read_unigram(model, fields, std::move(exact), parts, here);
  if (type == "WordLevel") return read_wordlevel(model, fields, here);
  fail_with("graft knows WordPiece, BPE, Unigram and WordLevel", "{}: unknown model type {:?}", where, type);
}

void read_added_tokens(const Json& list, TokenizerParts& parts) {
  if (list.is_null()) return;
  if (!list.is_array()) fail("{}: \"added_tokens\" must be a list", parts.where);
  for (const Json& item : list) {
    AddedToken token;
    token.source = parts.source;
    token.content = string_field(item, "content", parts.where + ": added_tokens");
    const Json& id = field(item, "id", parts.where + ": added_tokens");
    if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() > kMaxId)
      fail("{}: the id of added token {:?} must be an integer from 0 to {}", parts.where, token.content,
           kMaxId);
    token.id = id.get<int32_t>();
    token.special = item.value("special", false);
    token.normalized = item.value("normalized", !token.special);
    token.single_word = item.value("single_word", false);
    token.lstrip = item.value("lstrip", false);
    token.rstrip = item.value("rstrip", false);
    // The id of the model's vocabulary takes precedence, as in the reference.
    if (const int32_t known = parts.model->vocab.find(token.content); known >= 0) token.id = known;
    if (const AddedToken* other = parts.added.by_id(token.id); other && other->content != token.content)
      fail_with("every id may stand for one token only",
                "{}: the id {} is given to two added tokens, {:?} and {:?}", parts.where, token.id,
                other->content, token.content);
    parts.added.add(std::move(token));
  }
}

TruncationBlock read_truncation(const Json& json, const std::string& where) {
  TruncationBlock block;
  if (json.is_null()) return block;
  const std::string strategy = json.value("strategy", "LongestFirst");
  if (strategy == "LongestFirst")
    block.strategy = Truncation::longest_first;
  else if (strategy == "OnlyFirst")
    block.strategy = Truncation::only_first;
  else if (strategy == "OnlySecond")
    block.strategy = Truncation::only_second;
  else
    fail("{}: unknown truncation strategy {:?}", where, strategy);
  block.max_length = json.value("max_length", 0);
  block.stride = json.value("stride", 0);
  block.left = json.value("direction", "Right") == "Left";
  return block;
}

PaddingBlock read_padding(const Json& json, const std::string& where) {
  PaddingBlock block;
  if (json.is_null()) return block;
  block.enabled = true;
  const Json strategy = json.value("strategy", Json("BatchLongest"));
  if (strategy.is_object() && strategy.contains("Fixed"))
    block.fixed_length = strategy["Fixed"].get<int32_t>();
  else if (strategy != Json("BatchLongest"))
    fail("{}: unknown padding strategy {}", where, strategy.dump());
  block.left = json.value("direction", "Right") == "Left";
  if (json.contains("pad_to_multiple_of") && !json["pad_to_multiple_of"].is_null())
    block.pad_to_multiple_of = json["pad_to_multiple_of"].get<int32_t>();
  block.pad_id = json.value("pad_id", 0);
  block.pad_type_id = json.value("pad_type_id", 0);
  return block;
}

}  // namespace

TokenizerParts read_tokenizer_json(std::string json_text, const std::string& where,
                                   std::vector<double> exact_scores) {
  TokenizerParts parts;
  parts.where = where;
  parts.source = std::filesystem::path(where).filename().string();
  parts.json_text = std::move(json_text);
  parts.json_text.erase(0, parts.json_text.size() - utf8::without_bom(parts.json_text).size());
  const size_t size = parts.json_text.size();
  parts.json_text.reserve(size + simdjson::SIMDJSON_PADDING);
  simdjson::dom::parser parser;
  element root;
  if (const auto error = parser.parse(parts.json_text.data(), size, false).get(root)) {
    parse_json(parts.json_text, where);  // the slow parser reports line and column
    fail("{}: not valid JSON: {}", where, simdjson::error_message(error));
  }
  if (!root.is_object()) fail("{}: a tokenizer.json must hold an object", where);
  element model;
  if (root["model"].get(model) != simdjson::SUCCESS)
    fail_with("this is not a tokenizer.json", "{}: there is no \"model\" in it", where);
  try {
    parts.blocks = Json::object();
    for (const auto field : root.get_object())
      if (field.key != "model") parts.blocks[std::string(field.key)] = to_json(field.value);
    parts.model = read_model(model, std::move(exact_scores), parts);
    const auto block = [&](const char* name) { return parts.blocks.value(name, Json(nullptr)); };
    parts.normalizer = make_normalizer(block("normalizer"), where);
    parts.pre_tokenizer = make_pre_tokenizer(block("pre_tokenizer"), where);
    parts.post_processor = make_post_processor(block("post_processor"), where);
    parts.decoder = make_decoder(block("decoder"), where);
    parts.truncation = read_truncation(block("truncation"), where);
    parts.padding = read_padding(block("padding"), where);
    read_added_tokens(block("added_tokens"), parts);
  } catch (const JsonError& e) {
    fail("{}: a field has the wrong type ({})", where, e.what());
  }
  parts.added.refresh(parts.normalizer.get());
  return parts;
}

std::string with_added_tokens(const std::string& json_text, const std::string& added_tokens) {
  simdjson::ondemand::parser parser;
  const simdjson::padded_string padded(json_text);
  simdjson::ondemand::document document;
  simdjson::ondemand::object root;
  std::string_view old;
  if (parser.iterate(padded).get(document) == simdjson::SUCCESS &&
      document.get_object().get(root) == simdjson::SUCCESS) {
    for (auto field : root) {
      std::string_view key;
      if (field.unescaped_key().get(key) != simdjson::SUCCESS || key != "added_tokens") continue;
      simdjson::ondemand::array list;
      if (field.value().get_array().get(list) == simdjson::SUCCESS &&
          list.raw_json().get(old) == simdjson::SUCCESS)
        break;
    }
  }
  if (old.empty()) {  // no such block: insert one at the start
    const size_t brace = json_text.find('{') + 1;
    return json_text.substr(0, brace) + "\"added_tokens\":" + added_tokens + "," + json_text.substr(brace);
  }
  const auto at = static_cast<size_t>(old.data() - padded.data());
  return json_text.substr(0, at) + added_tokens + json_text.substr(at + old.size());
}

std::shared_ptr<Tokenizer> tokenizer_from_json(std::string json_text, const std::string& where) {
  return std::make_shared<FileTokenizer>(read_tokenizer_json(std::move(json_text), where));
}

}  // namespace graft::text
