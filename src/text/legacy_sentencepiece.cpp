// sentencepiece .model files: Unigram (T5, ALBERT, XLM-R, DeBERTa-v2) and BPE (Llama).
#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "base/error.h"
#include "base/file.h"
#include "base/utf8.h"
#include "text/json_text.h"
#include "text/legacy.h"
#include "text/normalizer.h"
#include "text/sentencepiece_model.h"
#include "text/unicode.h"

namespace graft::text {
namespace {

constexpr const char* kSpace = "\xE2\x96\x81";  // U+2581

struct Scored {
  std::string text;
  double score;
};

// How a model family converts the pieces of the file.
struct Conversion {
  std::vector<Scored> vocab;
  int64_t unk_id = 0;
  std::vector<std::string> specials;
  std::string mask;  // the mask token includes the white space on its left
  Json normalizers = Json::array();
  Json post_processor = nullptr;
};

bool has_piece(const std::vector<Scored>& vocab, const std::string& token) {
  return std::any_of(vocab.begin(), vocab.end(), [&](const Scored& s) { return s.text == token; });
}

int64_t find(const std::vector<Scored>& vocab, const std::string& token, const std::string& where) {
  for (size_t i = 0; i < vocab.size(); ++i)
    if (vocab[i].text == token) return static_cast<int64_t>(i);
  fail("{}: the special token {:?} is not among the pieces", where, token);
}

std::vector<Scored> pieces_of(const SentencePieceModel& model, size_t from = 0) {
  std::vector<Scored> vocab;
  vocab.reserve(model.pieces.size() + 8);
  for (size_t i = from; i < model.pieces.size(); ++i)
    vocab.push_back({model.pieces[i].text, model.pieces[i].score});
  return vocab;
}

void add_charsmap(const SentencePieceModel& model, Json& normalizers) {
  if (!model.charsmap.empty())
    normalizers.push_back({{"type", "Precompiled"}, {"precompiled_charsmap", encode_base64(model.charsmap)}});
}

// fairseq's vocabulary: its own four tokens, then the pieces after sentencepiece's first three, then the
// mask.
Conversion convert_xlm_roberta(const SentencePieceModel& model, const FolderConfig& config,
                               const std::string& where) {
  Conversion c;
  c.mask = config.role("mask_token", "<mask>");
  c.specials = {"<s>", "<pad>", "</s>", "<unk>", c.mask};
  c.vocab = {{"<s>", 0.0}, {"<pad>", 0.0}, {"</s>", 0.0}, {"<unk>", 0.0}};
  for (Scored& piece : pieces_of(model, 3)) c.vocab.push_back(std::move(piece));
  c.vocab.push_back({c.mask, 0.0});
  c.unk_id = 3;
  add_charsmap(model, c.normalizers);
  // The class puts bos_token and eos_token around a text, not cls_token and sep_token. One that is not a
  // piece takes the place of fairseq's own token.
  const auto token = [&](const char* role, const char* own) {
    const std::string named = config.role(role, own);
    return has_piece(c.vocab, named) ? named : own;
  };
  const std::string bos = token("bos_token", "<s>"), eos = token("eos_token", "</s>");
  c.post_processor = template_block(bos, find(c.vocab, bos, where), eos, find(c.vocab, eos, where), true);
  return c;
}

Conversion convert_t5(const SentencePieceModel& model, const FolderConfig& config, const std::string& where) {
  Conversion c;
  const std::string eos = config.role("eos_token", "</s>");
  c.vocab = pieces_of(model);
  c.unk_id = model.unk_id;
  c.specials = {config.role("pad_token", "<pad>"), eos, config.role("unk_token", "<unk>")};
  const int extra = config.tokenizer_config.value("extra_ids", 100);
  for (int i = extra - 1; i >= 0; --i) {
    c.vocab.push_back({fmt::format("<extra_id_{}>", i), 0.0});
    c.specials.push_back(c.vocab.back().text);
  }
  add_charsmap(model, c.normalizers);
  c.post_processor = end_template(eos, find(c.vocab, eos, where));
  return c;
}

Json replace_block(const Json& pattern, const char* content) {
  return {{"type", "Replace"}, {"pattern", pattern}, {"content", content}};
}

// ALBERT avoids pieces like "5,": their score is lowered by 100.
bool is_number_comma(const std::string& piece) {
  return piece.size() >= 2 && piece.back() == ',' && piece[piece.size() - 2] >= '0' &&
         piece[piece.size() - 2] <= '9';
}

// With either setting the reference puts only the tokens that are set to true around a text.
void refuse_albert_settings(const FolderConfig& config) {
  const Json bos = config.tokenizer_config.value("add_bos_token", Json()),
             eos = config.tokenizer_config.value("add_eos_token", Json());
  if ((bos.is_null() && eos.is_null()) || (bos == Json(true) && eos == Json(true))) return;
  fail_with("save the tokenizer as tokenizer.json with transformers, or remove both settings",
            "{}: \"add_bos_token\" and \"add_eos_token\" other than true are not implemented for an "
            "AlbertTokenizer without tokenizer.json",
            (config.folder / "tokenizer_config.json").string());
}

Conversion convert_albert(const SentencePieceModel& model, const FolderConfig& config,
                          const std::string& where) {
  Conversion c;
  refuse_albert_settings(config);
  const std::string cls = config.role("cls_token", "[CLS]"), sep = config.role("sep_token", "[SEP]");
  c.mask = config.role("mask_token", "[MASK]");
  c.specials = {config.role("pad_token", "<pad>"), config.role("unk_token", "<unk>"), cls, sep, c.mask};
  c.vocab = pieces_of(model);
  c.unk_id = model.unk_id;
  for (Scored& piece : c.vocab)
    if (is_number_comma(piece.text)) piece.score -= 100;
  c.normalizers.push_back(replace_block({{"String", "``"}}, "\""));
  c.normalizers.push_back(replace_block({{"String", "''"}}, "\""));
  if (!config.flag("keep_accents", false)) {
    c.normalizers.push_back({{"type", "NFKD"}});
    c.normalizers.push_back({{"type", "StripAccents"}});
  }
  if (config.flag("do_lower_case", true)) c.normalizers.push_back({{"type", "Lowercase"}});
  add_charsmap(model, c.normalizers);
  c.post_processor = template_block(cls, find(c.vocab, cls, where), sep, find(c.vocab, sep, where), false);
  return c;
}

Conversion convert_deberta_v2(const SentencePieceModel& model, const FolderConfig& config,
                              const std::string& where) {
  Conversion c;
  const std::string cls = config.role("cls_token", "[CLS]"), sep = config.role("sep_token", "[SEP]");
  c.mask = config.role("mask_token", "[MASK]");
  c.vocab = pieces_of(model);
  c.unk_id = model.unk_id;
  if (!has_piece(c.vocab, c.mask)) c.vocab.push_back({c.mask, 0.0});
  c.specials = {config.role("pad_token", "[PAD]"), cls, sep, config.role("unk_token", "[UNK]"), c.mask};
  if (config.flag("do_lower_case", false)) c.normalizers.push_back({{"type", "Lowercase"}});
  c.normalizers.push_back({{"type", "Strip"}, {"strip_left", true}, {"strip_right", true}});
  add_charsmap(model, c.normalizers);
  c.normalizers.push_back(replace_block({{"Regex", " {2,}"}}, " "));
  c.post_processor = template_block(cls, find(c.vocab, cls, where), sep, find(c.vocab, sep, where), false);
  return c;
}

Json added_block(const Conversion& c, const FolderConfig& config) {
  std::vector<TokenSpec> tokens;
  for (const std::string& special : c.specials)
    for (size_t i = 0; i < c.vocab.size(); ++i)
      if (c.vocab[i].text == special) {
        tokens.push_back(special_token(config, {static_cast<int64_t>(i), special, true, special == c.mask}));
        break;
      }
  return added_tokens_block(std::move(tokens));
}

ConvertedText unigram_text(const SentencePieceModel& model, const Conversion& c, const FolderConfig& config,
                           const std::string& name) {
  const bool is_t5 = name == "T5Tokenizer" || name == "MT5Tokenizer";
  const bool prefix =
      is_t5 ? model.add_dummy_prefix : config.flag("add_prefix_space", model.add_dummy_prefix);
  Json metaspace = {{"type", "Metaspace"}, {"replacement", kSpace}, {"add_prefix_space", prefix}};
  if (!prefix && name == "DebertaV2Tokenizer") metaspace["prepend_scheme"] = "first";
  Json blocks = {{"version", "1.0"}, {"truncation", nullptr}, {"padding", nullptr}};
  blocks["added_tokens"] = added_block(c, config);
  if (c.normalizers.empty())
    blocks["normalizer"] = nullptr;
  else
    blocks["normalizer"] = {{"type", "Sequence"}, {"normalizers", c.normalizers}};
  Json cut = Json::array();
  if (name != "DebertaV2Tokenizer")
    cut.push_back({{"type", "WhitespaceSplit"}});
  else if (config.flag("split_by_punct", false))
    cut.push_back({{"type", "Punctuation"}, {"behavior", "Isolated"}});
  cut.push_back(metaspace);
  blocks["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", cut}};
  blocks["post_processor"] = c.post_processor;
  blocks["decoder"] = metaspace;
  std::string text = blocks.dump();
  text.back() = ',';
  text += fmt::format(R"("model":{{"type":"Unigram","unk_id":{},"byte_fallback":{},"vocab":[)", c.unk_id,
                      model.byte_fallback);
  std::vector<double> scores;
  for (size_t i = 0; i < c.vocab.size(); ++i) {
    text += i ? ",[" : "[";
    append_json_string(text, c.vocab[i].text);
    const double score = c.vocab[i].score;
    if (!std::isfinite(score)) fail("piece {} has the score {}", i, score);
    text += score == std::floor(score) ? fmt::format(FMT_STRING(",{:.1f}]"), score)
                                       : fmt::format(FMT_STRING(",{}]"), score);
    scores.push_back(score);
  }
  return {text + "]}}", std::move(scores)};
}

// The merges, derived as in the reference: every split of a piece into two pieces, best score first.
std::vector<std::pair<std::string, std::string>> derive_merges(const SentencePieceModel& model) {
  struct Candidate {
    float score;
    int32_t left, right;
    size_t left_chars, right_chars;
    std::string a, b;
  };
  std::unordered_map<std::string_view, int32_t> ids;
  for (size_t i = 0; i < model.pieces.size(); ++i) ids[model.pieces[i].text] = static_cast<int32_t>(i);
  std::vector<Candidate> all;
  for (const auto& piece : model.pieces) {
    std::vector<Candidate> local;
    const std::string_view text = piece.text;
    for (size_t at = 0; at < text.size();) {
      at += static_cast<size_t>(sequence_length(text[at]));
      if (at >= text.size()) break;
      const auto a = ids.find(text.substr(0, at)), b = ids.find(text.substr(at));
      if (a == ids.end() || b == ids.end()) continue;
      local.push_back({piece.score, a->second, b->second, count_chars(a->first), count_chars(b->first),
                       std::string(a->first), std::string(b->first)});
    }
    std::stable_sort(local.begin(), local.end(), [](const auto& x, const auto& y) {
      return std::pair(x.left, x.right) < std::pair(y.left, y.right);
    });
    std::move(local.begin(), local.end(), std::back_inserter(all));
  }
  std::stable_sort(all.begin(), all.end(), [](const Candidate& x, const Candidate& y) {
    return std::tuple(x.score, x.left_chars, x.right_chars) >
           std::tuple(y.score, y.left_chars, y.right_chars);
  });
  std::vector<std::pair<std::string, std::string>> merges;
  merges.reserve(all.size());
  for (Candidate& c : all) merges.emplace_back(std::move(c.a), std::move(c.b));
  return merges;
}

// Llama: no pre-tokenizer. A text is one word in which U+2581 replaces the spaces.
std::string bpe_text(const SentencePieceModel& model, const FolderConfig& config, const std::string& where) {
  Conversion c;
  c.vocab = pieces_of(model);
  const std::string unk = model.pieces[static_cast<size_t>(model.unk_id)].text;
  const std::string bos = config.role("bos_token", "<s>"), eos = config.role("eos_token", "</s>");
  c.specials = {unk, bos, eos};
  Json normalizers = Json::array();
  if (model.add_dummy_prefix) normalizers.push_back({{"type", "Prepend"}, {"prepend", kSpace}});
  normalizers.push_back(replace_block({{"String", " "}}, kSpace));
  const auto special = [](const std::string& t, int type) {
    return Json{{"SpecialToken", {{"id", t}, {"type_id", type}}}};
  };
  const auto sequence = [](const char* t, int type) {
    return Json{{"Sequence", {{"id", t}, {"type_id", type}}}};
  };
  const bool add_bos = config.flag("add_bos_token", true), add_eos = config.flag("add_eos_token", false);
  Json single = Json::array(), pair = Json::array(), tokens = Json::object();
  const auto half = [&](const char* name, int type, Json& out) {
    if (add_bos) out.push_back(special(bos, type));
    out.push_back(sequence(name, type));
    if (add_eos) out.push_back(special(eos, type));
  };
  half("A", 0, single);
  half("A", 0, pair);
  half("B", 1, pair);
  const auto define = [&](const std::string& t) {
    tokens[t] = {{"id", t}, {"ids", Json::array({find(c.vocab, t, where)})}, {"tokens", Json::array({t})}};
  };
  if (add_bos) define(bos);
  if (add_eos) define(eos);
  Json blocks = {{"version", "1.0"}, {"truncation", nullptr}, {"padding", nullptr}};
  blocks["added_tokens"] = added_block(c, config);
  blocks["normalizer"] = {{"type", "Sequence"}, {"normalizers", normalizers}};
  blocks["pre_tokenizer"] = nullptr;
  blocks["post_processor"] = {
      {"type", "TemplateProcessing"}, {"single", single}, {"pair", pair}, {"special_tokens", tokens}};
  Json decoders =
      Json::array({replace_block({{"String", kSpace}}, " "), {{"type", "ByteFallback"}}, {{"type", "Fuse"}}});
  if (model.add_dummy_prefix)
    decoders.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  blocks["decoder"] = {{"type", "Sequence"}, {"decoders", decoders}};
  std::string text = blocks.dump();
  text.back() = ',';
  text += R"("model":{"type":"BPE","dropout":null,"unk_token":)";
  append_json_string(text, unk);
  text += fmt::format(
      R"(,"continuing_subword_prefix":null,"end_of_word_suffix":null,"fuse_unk":true,"byte_fallback":{},"vocab":)",
      model.byte_fallback);
  std::vector<std::string_view> names;
  for (const Scored& piece : c.vocab) names.push_back(piece.text);
  append_json_vocab(text, names);
  text += R"(,"merges":[)";
  bool first = true;
  for (const auto& [a, b] : derive_merges(model)) {
    text += first ? "[" : ",[";
    first = false;
    append_json_string(text, a);
    text += ',';
    append_json_string(text, b);
    text += ']';
  }
  return text + "]}}";
}

}  // namespace

ConvertedText convert_sentencepiece(const std::filesystem::path& path, const FolderConfig& config) {
  const std::string where = path.string();
  const MappedFile file(path);
  const SentencePieceModel model = read_sentencepiece(file.text(), where);
  std::string name = config.tokenizer_class();
  if (model.is_bpe) {
    if (!name.empty() && name != "LlamaTokenizer")
      fail_with("copy the model of the class into the folder, or correct tokenizer_class",
                "{}: a BPE model, but the tokenizer class {} is read from a Unigram model", where, name);
    return {bpe_text(model, config, where)};
  }
  if (name.empty()) {  // by the usual file names of the families, else by the special tokens
    const bool has_cls = std::any_of(model.pieces.begin(), model.pieces.end(),
                                     [](const auto& p) { return p.text == "[CLS]"; });
    name = path.filename() == "sentencepiece.bpe.model" ? "XLMRobertaTokenizer"
           : path.filename() == "spm.model"             ? "DebertaV2Tokenizer"
           : has_cls                                    ? "AlbertTokenizer"
                                                        : "T5Tokenizer";
  }
  using Convert = Conversion (*)(const SentencePieceModel&, const FolderConfig&, const std::string&);
  static constexpr std::pair<const char*, Convert> kFamilies[] = {
      {"XLMRobertaTokenizer", convert_xlm_roberta},
      {"T5Tokenizer", convert_t5},
      {"MT5Tokenizer", convert_t5},
      {"AlbertTokenizer", convert_albert},
      {"DebertaV2Tokenizer", convert_deberta_v2},
  };
  for (const auto& [family, convert] : kFamilies)
    if (name == family) return unigram_text(model, convert(model, config, where), config, name);
  fail_with("save the checkpoint with a tokenizer.json, which any tokenizer can be read from",
            "{}: a sentencepiece model is not implemented for the tokenizer class {}", where, name);
}

}  // namespace graft::text
