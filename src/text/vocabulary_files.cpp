#include "text/vocabulary_files.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/folder.h"
#include "base/utf8.h"

namespace graft::text {
namespace fs = std::filesystem;

namespace {

constexpr const char* kSentencePieceModels[] = {"sentencepiece.bpe.model", "spiece.model", "spm.model",
                                                "tokenizer.model"};

bool is_one_character(std::string_view text) {
  char32_t c = 0;
  const int n = utf8::decode(text, 0, c);
  return n > 0 && static_cast<size_t>(n) == text.size();
}

// "<0x0A>"
bool is_byte(const std::string& piece) {
  return piece.size() == 6 && piece.starts_with("<0x") && piece.back() == '>';
}

// A character alone, at the start of a word, inside of one or at its end.
bool is_character(std::string piece, const std::string& prefix, const std::string& suffix) {
  if (is_one_character(piece) || is_byte(piece)) return true;
  if (!prefix.empty() && piece.size() > prefix.size() && piece.starts_with(prefix))
    piece.erase(0, prefix.size());
  else if (!suffix.empty() && piece.size() > suffix.size() && piece.ends_with(suffix))
    piece.resize(piece.size() - suffix.size());
  return is_one_character(piece);
}

std::string text_of(const Json& object, const char* key) {
  const Json value = object.value(key, Json());
  return value.is_string() ? value.get<std::string>() : "";
}

// Both forms of a merge: "a b", and ["a", "b"].
std::pair<std::string, std::string> parts_of_merge(const Json& merge, const std::string& where) {
  if (merge.is_array() && merge.size() == 2)
    return {merge[0].get<std::string>(), merge[1].get<std::string>()};
  const std::string text = merge.is_string() ? merge.get<std::string>() : "";
  const size_t space = text.find(' ');
  if (space == std::string::npos) fail("{}: the merge {} is not two pieces", where, merge.dump());
  return {text.substr(0, space), text.substr(space + 1)};
}

// The ids that post-processors insert.
void visit_ids(Json& processor, const std::function<void(Json&)>& see) {
  if (!processor.is_object()) return;
  for (auto& [key, value] : processor.items()) {
    if (key == "processors") {
      for (Json& inner : value) visit_ids(inner, see);
    } else if (key == "special_tokens" && value.is_object()) {
      for (auto& [name, token] : value.items())
        for (Json& id : token["ids"]) see(id);
    } else if ((key == "sep" || key == "cls") && value.is_array() && value.size() == 2) {
      see(value[1]);
    }
  }
}

int32_t renumbered(const std::vector<int32_t>& new_ids, const Json& id) {
  return new_ids.at(id.get<size_t>());
}

std::string rest_of_file(const std::vector<std::string>& lines) {
  std::string out;
  for (const std::string& line : lines) out += line + "\n";
  return out;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    lines.push_back(text.substr(begin, end - begin));
    if (!lines.back().empty() && lines.back().back() == '\r') lines.back().pop_back();
    begin = end + 1;
  }
  return lines;
}

}  // namespace

VocabularyFiles::VocabularyFiles(fs::path folder) : folder_(std::move(folder)) {
  const fs::path file = folder_ / "tokenizer.json";
  json_ = read_json(file);
  if (!json_.is_object() || !json_.contains("model") || !json_["model"].contains("vocab"))
    fail("{}: has no vocabulary", file.string());
  Json& model = json_["model"];
  type_ = text_of(model, "type");
  if (type_.empty())  // an older file
    type_ = model["vocab"].is_array() ? "Unigram" : model.contains("merges") ? "BPE" : "WordPiece";
  if (type_ != "WordPiece" && type_ != "BPE" && type_ != "Unigram" && type_ != "WordLevel")
    fail("{}: the vocabulary of a {} model cannot be made smaller", file.string(), type_);
  read_pieces();
  if (type_ == "BPE") read_merges();
  require_special_tokens();
}

int32_t VocabularyFiles::id_of(const std::string& piece) const {
  const auto found = ids_.find(piece);
  return found == ids_.end() ? -1 : found->second;
}

void VocabularyFiles::require_id(int64_t id) {
  if (id >= 0 && id < num_ids_) required_[static_cast<size_t>(id)] = true;
}

void VocabularyFiles::require(const Json& token) {
  if (token.is_string()) require_id(id_of(token.get<std::string>()));
  if (token.is_object()) require_id(id_of(text_of(token, "content")));
}

void VocabularyFiles::read_pieces() {
  const Json& model = json_["model"];
  const Json& vocab = model["vocab"];
  if (vocab.is_array()) {
    for (size_t i = 0; i < vocab.size(); ++i)
      ids_.emplace(vocab[i][0].get<std::string>(), static_cast<int32_t>(i));
  } else {
    for (const auto& [piece, id] : vocab.items()) ids_[piece] = id.get<int32_t>();
  }
  if (json_.contains("added_tokens"))
    for (const Json& token : json_["added_tokens"])  // the id of the model's vocabulary takes precedence
      ids_.emplace(token["content"].get<std::string>(), token["id"].get<int32_t>());
  num_ids_ = vocab.is_array() ? static_cast<int32_t>(vocab.size()) : 0;
  for (const auto& [piece, id] : ids_) num_ids_ = std::max(num_ids_, id + 1);
  required_.assign(static_cast<size_t>(num_ids_), false);
  const std::string prefix = text_of(model, "continuing_subword_prefix"),
                    suffix = text_of(model, "end_of_word_suffix");
  if (type_ == "WordLevel") return;
  for (const auto& [piece, id] : ids_)
    if (is_character(piece, prefix, suffix)) require_id(id);
  if (!vocab.is_array()) return;
  // The score of an unknown character is that of the rarest piece, less 10.
  size_t rarest = 0;
  for (size_t i = 1; i < vocab.size(); ++i)
    if (vocab[i][1].get<double>() < vocab[rarest][1].get<double>()) rarest = i;
  require_id(static_cast<int64_t>(rarest));
}

void VocabularyFiles::read_merges() {
  const std::string where = (folder_ / "tokenizer.json").string();
  const std::string prefix = text_of(json_["model"], "continuing_subword_prefix");
  for (const Json& merge : json_["model"]["merges"]) {
    const auto [left, right] = parts_of_merge(merge, where);
    const bool continues = !prefix.empty() && right.starts_with(prefix);
    const int32_t whole = id_of(left + (continues ? right.substr(prefix.size()) : right));
    if (whole >= 0) merges_[whole].push_back({id_of(left), id_of(right)});
  }
}

void VocabularyFiles::require_special_tokens() {
  const Json& model = json_["model"];
  require(model.value("unk_token", Json()));
  if (const Json id = model.value("unk_id", Json()); id.is_number_integer()) require_id(id.get<int64_t>());
  if (json_.contains("added_tokens"))
    for (const Json& token : json_["added_tokens"]) require(token["content"]);
  if (json_.contains("post_processor"))
    visit_ids(json_["post_processor"], [&](Json& id) { require_id(id.get<int64_t>()); });
  if (json_.contains("padding") && json_["padding"].is_object())
    require_id(json_["padding"].value("pad_id", int64_t{0}));
  for (const char* name : {"tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"}) {
    if (!path_exists(folder_ / name)) continue;
    const Json json = read_json(folder_ / name);
    for (const auto& [key, value] : json.items()) {
      if (key.ends_with("_token")) require(value);
      if (value.is_array())
        for (const Json& token : value) require(token);
      if (value.is_number()) require(Json(key));  // of added_tokens.json
    }
  }
}

std::vector<int32_t> VocabularyFiles::parts_of(int32_t id) const {
  std::vector<int32_t> out, open = {id};
  std::vector<bool> seen(static_cast<size_t>(num_ids_), false);
  while (!open.empty()) {
    const auto merges = merges_.find(open.back());
    open.pop_back();
    if (merges == merges_.end()) continue;
    for (const Merge& merge : merges->second)
      for (const int32_t part : {merge.left, merge.right}) {
        if (part < 0 || seen[static_cast<size_t>(part)]) continue;
        seen[static_cast<size_t>(part)] = true;
        out.push_back(part);
        open.push_back(part);
      }
  }
  return out;
}

void VocabularyFiles::keep_tokenizer_json(const std::vector<int32_t>& new_ids) {
  Json& model = json_["model"];
  const auto stays = [&](int32_t id) { return id >= 0 && new_ids[static_cast<size_t>(id)] >= 0; };
  if (model["vocab"].is_array()) {
    Json vocab = Json::array();
    for (size_t i = 0; i < model["vocab"].size(); ++i)
      if (stays(static_cast<int32_t>(i))) vocab.push_back(model["vocab"][i]);
    model["vocab"] = std::move(vocab);
    if (model.value("unk_id", Json()).is_number_integer())
      model["unk_id"] = renumbered(new_ids, model["unk_id"]);
  } else {
    auto& pieces = model["vocab"].items();
    std::erase_if(pieces, [&](const Json::Member& piece) { return !stays(piece.second.get<int32_t>()); });
    for (auto& [piece, id] : pieces) id = renumbered(new_ids, id);
  }
  if (model.contains("merges")) {
    const std::string prefix = text_of(model, "continuing_subword_prefix");
    Json merges = Json::array();
    for (const Json& merge : model["merges"]) {
      const auto [left, right] = parts_of_merge(merge, folder_.string());
      const bool continues = !prefix.empty() && right.starts_with(prefix);
      const std::string whole = left + (continues ? right.substr(prefix.size()) : right);
      if (stays(id_of(left)) && stays(id_of(right)) && stays(id_of(whole))) merges.push_back(merge);
    }
    model["merges"] = std::move(merges);
  }
  if (json_.contains("added_tokens"))
    for (Json& token : json_["added_tokens"])
      token["id"] = new_ids[static_cast<size_t>(id_of(token["content"].get<std::string>()))];
  if (json_.contains("post_processor"))
    visit_ids(json_["post_processor"], [&](Json& id) { id = renumbered(new_ids, id); });
  if (json_.contains("padding") && json_["padding"].is_object())
    json_["padding"]["pad_id"] = renumbered(new_ids, json_["padding"].value("pad_id", Json(0)));
  write_json(folder_ / "tokenizer.json", json_);
}

// They have the old ids. Release 4 of the reference converts from them where "add_prefix_space" stands beside
// them; true is what tokenizer.json says anyway.
void VocabularyFiles::remove_sentencepiece_models() const {
  for (const char* name : kSentencePieceModels) remove_file(folder_ / name);
  const fs::path file = folder_ / "tokenizer_config.json";
  if (type_ != "Unigram" || !path_exists(file)) return;
  Json json = read_json(file);
  if (!(json.value("add_prefix_space", Json()) == Json(true))) return;
  json.erase("add_prefix_space");
  write_json(file, json);
}

// vocab.json and merges.txt, where they are there.
void VocabularyFiles::write_bpe_files() const {
  const fs::path vocab = folder_ / "vocab.json", merges = folder_ / "merges.txt";
  if (path_exists(vocab)) write_file(vocab, json_["model"]["vocab"].dump() + "\n");
  if (!path_exists(merges)) return;
  std::vector<std::string> lines = lines_of(read_file(merges));
  lines.resize(std::min<size_t>(lines.size(), 1));
  if (lines.empty()) lines = {"#version: 0.2"};
  if (!lines.front().starts_with("#version")) lines.clear();
  for (const Json& merge : json_["model"]["merges"]) {
    const auto [left, right] = parts_of_merge(merge, folder_.string());
    lines.push_back(left + " " + right);
  }
  write_file(merges, rest_of_file(lines));
}

void VocabularyFiles::keep_legacy_files(const std::vector<int32_t>& ids,
                                        const std::vector<int32_t>& new_ids) const {
  const auto rewrite = [&](const char* name, const auto& change) {
    if (path_exists(folder_ / name)) write_file(folder_ / name, change(read_file(folder_ / name)));
  };
  rewrite("vocab.txt", [&](const std::string& text) {
    const std::vector<std::string> lines = lines_of(text);
    std::vector<std::string> kept;
    for (const int32_t id : ids)
      if (static_cast<size_t>(id) < lines.size()) kept.push_back(lines[static_cast<size_t>(id)]);
    return rest_of_file(kept);
  });
  write_bpe_files();
  const auto renumber_by_name = [&](const std::string& text) {
    Json json = parse_json(text, "added_tokens.json");
    for (auto& [name, id] : json.items()) id = renumbered(new_ids, id);
    return json.dump(2) + "\n";
  };
  rewrite("added_tokens.json", renumber_by_name);
  rewrite("tokenizer_config.json", [&](const std::string& text) {
    Json json = parse_json(text, "tokenizer_config.json");
    if (!json.contains("added_tokens_decoder")) return text;
    Json decoder = Json::object();
    for (const auto& [id, token] : json["added_tokens_decoder"].items())
      decoder[std::to_string(new_ids.at(std::stoul(id)))] = token;
    json["added_tokens_decoder"] = std::move(decoder);
    return json.dump(2) + "\n";
  });
  remove_sentencepiece_models();
}

void VocabularyFiles::keep(const std::vector<int32_t>& ids) {
  std::vector<int32_t> new_ids(static_cast<size_t>(num_ids_), -1);
  for (size_t i = 0; i < ids.size(); ++i) new_ids[static_cast<size_t>(ids[i])] = static_cast<int32_t>(i);
  keep_tokenizer_json(new_ids);
  keep_legacy_files(ids, new_ids);
}

std::string VocabularyFiles::continuing_prefix() const {
  return text_of(json_["model"], "continuing_subword_prefix");
}

std::vector<double> VocabularyFiles::scores() const {
  std::vector<double> out;
  if (type_ != "Unigram") return out;
  for (const Json& piece : json_["model"]["vocab"]) out.push_back(piece[1].get<double>());
  return out;
}

void VocabularyFiles::append(const AddedPieces& added) {
  Json& model = json_["model"];
  Json& vocab = model["vocab"];
  const fs::path text_file = folder_ / "vocab.txt";
  std::vector<std::string> lines;
  if (type_ == "WordPiece" && path_exists(text_file)) lines = lines_of(read_file(text_file));
  const size_t positions = vocab.is_array() ? vocab.size() : lines.size();
  if (positions > 0 && positions != static_cast<size_t>(num_ids_))
    fail("{}: the vocabulary has {} pieces and the tokenizer {} ids: added tokens lie behind the vocabulary",
         folder_.string(), positions, num_ids_);
  for (size_t i = 0; i < added.pieces.size(); ++i) {
    const std::string& piece = added.pieces[i];
    if (!ids_.emplace(piece, num_ids_).second) fail("the piece {} is there already", piece);
    if (vocab.is_array())
      vocab.push_back(Json::array({piece, added.scores.at(i)}));
    else
      vocab.items().emplace_back(piece, num_ids_);
    ++num_ids_;
    if (!lines.empty()) lines.push_back(piece);
  }
  if (type_ == "BPE") {
    Json& merges = model["merges"];
    const bool as_text = merges.size() > 0 && merges[0].is_string();
    for (const auto& [left, right] : added.merges)
      merges.push_back(as_text ? Json(left + " " + right) : Json::array({left, right}));
    write_bpe_files();
  }
  write_json(folder_ / "tokenizer.json", json_);
  if (!lines.empty()) write_file(text_file, rest_of_file(lines));
  remove_sentencepiece_models();
}

}  // namespace graft::text
