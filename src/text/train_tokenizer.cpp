#include "graft/train_tokenizer.h"

#include <algorithm>

#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "base/utf8.h"
#include "text/file_tokenizer.h"
#include "text/json_text.h"
#include "text/legacy.h"
#include "text/tokenizer_json.h"
#include "text/train_bpe.h"
#include "text/train_unigram.h"
#include "text/unicode.h"

namespace graft {
namespace text {
namespace {

constexpr const char* kEndOfText = "<|endoftext|>";
constexpr const char* kSpace = "\xE2\x96\x81";  // U+2581

// The roles of special tokens by their usual spelling, for tokenizer_config.json.
Json special_tokens_map(const std::vector<std::string>& specials) {
  static const std::pair<const char*, const char*> kRoles[] = {
      {"unk_token", kEndOfText}, {"bos_token", kEndOfText}, {"eos_token", kEndOfText},  // GPT-2's
      {"unk_token", "[UNK]"},    {"unk_token", "<unk>"},    {"cls_token", "[CLS]"},    {"cls_token", "<s>"},
      {"sep_token", "[SEP]"},    {"sep_token", "</s>"},     {"pad_token", "[PAD]"},    {"pad_token", "<pad>"},
      {"mask_token", "[MASK]"},  {"mask_token", "<mask>"},  {"bos_token", "<s>"},      {"eos_token", "</s>"}};
  Json map = Json::object();
  for (const auto& [role, token] : kRoles)
    if (std::find(specials.begin(), specials.end(), token) != specials.end()) map[role] = token;
  return map;
}

std::string special_with_role(const std::vector<std::string>& specials, const char* role) {
  return special_tokens_map(specials).value(role, "");
}

// Normalizes a piece and cuts it into words.
Expander expand_with(const Json& normalizer, const Json& pre_tokenizer) {
  std::shared_ptr<Normalizer> n = make_normalizer(normalizer, "train_tokenizer");
  std::shared_ptr<PreTokenizer> p = make_pre_tokenizer(pre_tokenizer, "train_tokenizer");
  return [n, p](std::string_view piece, std::vector<std::string>& words) {
    PreTokenized t;
    t.text.assign(piece, 0);
    if (n) n->normalize(t.text);
    if (t.text.text.empty()) return;
    t.words = {{0, static_cast<int32_t>(t.text.text.size())}};
    if (p) p->pre_tokenize(t);
    for (const Span& w : t.words) words.push_back(t.text.text.substr(w.begin, w.end - w.begin));
  };
}

int64_t index_of(const std::vector<std::string>& tokens, const std::string& token) {
  return std::find(tokens.begin(), tokens.end(), token) - tokens.begin();
}

// The blocks that all types of tokenizers share.
Json common_blocks(const std::vector<std::string>& specials, Json normalizer, Json pre_tokenizer,
                   Json decoder, const std::vector<TokenSpec>& last_tokens = {}) {
  std::vector<TokenSpec> tokens;
  for (size_t i = 0; i < specials.size(); ++i)
    tokens.push_back({static_cast<int64_t>(i), specials[i], true, specials[i] == "<mask>"});
  tokens.insert(tokens.end(), last_tokens.begin(), last_tokens.end());
  Json blocks = {{"version", "1.0"}, {"truncation", nullptr}, {"padding", nullptr}};
  blocks["added_tokens"] = added_tokens_block(std::move(tokens));
  blocks["normalizer"] = std::move(normalizer);
  blocks["pre_tokenizer"] = std::move(pre_tokenizer);
  const std::string cls = special_with_role(specials, "cls_token"),
                    sep = special_with_role(specials, "sep_token");
  blocks["post_processor"] =
      cls.empty() || sep.empty()
          ? Json(nullptr)
          : template_block(cls, index_of(specials, cls), sep, index_of(specials, sep), cls == "<s>");
  blocks["decoder"] = std::move(decoder);
  return blocks;
}

// A tokenizer from the text of its file, with the files that the reference writes beside it.
std::shared_ptr<Tokenizer> build(std::string json_text, const TrainTokenizerOptions& options,
                                 const std::vector<std::string>& specials, const char* tokenizer_class,
                                 std::map<std::string, std::string> sidecars) {
  TokenizerParts parts = read_tokenizer_json(std::move(json_text), "the trained tokenizer.json");
  const Json map = special_tokens_map(specials);
  parts.config = map;
  if (options.type == "wordpiece") parts.config["do_lower_case"] = options.lowercase;
  if (options.type == "bpe") parts.config["add_prefix_space"] = options.add_prefix_space;
  if (options.type == "unigram")
    parts.config["model_input_names"] = Json::array({"input_ids", "attention_mask"});
  parts.config["model_max_length"] = options.model_max_length;
  parts.config["tokenizer_class"] = tokenizer_class;
  for (const auto& [role, token] : map.items()) parts.roles[role] = token.get<std::string>();
  sidecars["tokenizer_config.json"] = parts.config.dump(2) + "\n";
  sidecars["special_tokens_map.json"] = map.dump(2) + "\n";
  parts.sidecars = std::move(sidecars);
  return std::make_shared<FileTokenizer>(std::move(parts));
}

BpeTrainerOptions bpe_options(const TrainTokenizerOptions& options,
                              const std::vector<std::string>& specials) {
  BpeTrainerOptions o;
  o.vocab_size = options.vocab_size;
  o.min_frequency = options.min_frequency;
  o.special_tokens = specials;
  o.limit_alphabet = options.limit_alphabet;
  o.initial_alphabet = options.initial_alphabet;
  o.max_token_length = options.max_token_length;
  return o;
}

[[noreturn]] void fail_without_words(const std::vector<std::filesystem::path>& files) {
  fail_with("give files with text", "{}{}: no word in it", files.front().string(),
            files.size() > 1 ? fmt::format(" and {} more", files.size() - 1) : "");
}

void check_size(size_t size, const TrainTokenizerOptions& options) {
  if (size > static_cast<size_t>(options.vocab_size))
    fail_with("raise vocab_size or lower limit_alphabet",
              "vocab_size {} has no room for the special tokens and the alphabet, {} in all",
              options.vocab_size, size);
}

// The caller may have chosen the embedding's size by vocab_size, so a smaller vocabulary is reported.
void warn_of_size(size_t size, const TrainTokenizerOptions& options) {
  if (size < static_cast<size_t>(options.vocab_size))
    log_warning(
        "the {} vocabulary has {} tokens, not the {} asked for: the text holds no more pieces that occur "
        "often "
        "enough; train on more text or ask for a smaller vocab_size{}",
        options.type, size, options.vocab_size, options.min_frequency > 1 ? ", or lower min_frequency" : "");
}

std::shared_ptr<Tokenizer> train_wordpiece(const std::vector<std::filesystem::path>& files,
                                           const TrainTokenizerOptions& options,
                                           const std::vector<std::string>& specials) {
  const std::string unk = special_with_role(specials, "unk_token");
  if (unk.empty())
    fail_with("add [UNK]", "a WordPiece vocabulary needs an unknown token among its special tokens");
  const Json normalizer = {{"type", "BertNormalizer"},
                           {"clean_text", true},
                           {"handle_chinese_chars", true},
                           {"strip_accents", nullptr},
                           {"lowercase", options.lowercase}};
  const Json pre_tokenizer = {{"type", "BertPreTokenizer"}};
  const WordCounts words = count_words(files, cut_at_spaces, expand_with(normalizer, pre_tokenizer));
  if (words.empty()) fail_without_words(files);
  BpeTrainerOptions o = bpe_options(options, specials);
  o.prefix = "##";
  const TrainedBpe trained = train_bpe(words, o);
  check_size(trained.tokens.size(), options);
  warn_of_size(trained.tokens.size(), options);
  Json blocks = common_blocks(specials, normalizer, pre_tokenizer,
                              {{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}});
  std::string text = blocks.dump();
  text.back() = ',';
  text += R"("model":{"type":"WordPiece","unk_token":)";
  append_json_string(text, unk);
  text += R"(,"continuing_subword_prefix":"##","max_input_chars_per_word":100,"vocab":)";
  append_json_vocab(text, trained.tokens);
  text += "}}";
  std::string vocab_txt;
  for (const std::string& token : trained.tokens) vocab_txt += token + "\n";
  return build(std::move(text), options, specials, "BertTokenizer", {{"vocab.txt", std::move(vocab_txt)}});
}

std::shared_ptr<Tokenizer> train_byte_level(const std::vector<std::filesystem::path>& files,
                                            const TrainTokenizerOptions& options,
                                            const std::vector<std::string>& specials) {
  const Json pre_tokenizer = {{"type", "ByteLevel"},
                              {"add_prefix_space", options.add_prefix_space},
                              {"trim_offsets", true},
                              {"use_regex", true}};
  // The pieces are words already. Only their bytes are replaced by the byte-level alphabet.
  Json spelling = pre_tokenizer;
  spelling["add_prefix_space"] = false;
  spelling["use_regex"] = false;
  const WordCounts words = count_words(files, options.add_prefix_space ? cut_gpt2_prefixed : cut_gpt2,
                                       expand_with(nullptr, spelling));
  if (words.empty()) fail_without_words(files);
  BpeTrainerOptions o = bpe_options(options, specials);
  o.initial_alphabet.clear();
  for (int b = 0; b < 256; ++b) {
    o.initial_alphabet.emplace_back();
    utf8::append(o.initial_alphabet.back(), byte_to_char(static_cast<uint8_t>(b)));
  }
  const TrainedBpe trained = train_bpe(words, o);
  check_size(trained.tokens.size(), options);
  warn_of_size(trained.tokens.size(), options);
  Json blocks = common_blocks(specials, nullptr, pre_tokenizer, pre_tokenizer);
  const Json& post = blocks["post_processor"];
  if (post.is_object()) {
    const std::string cls = special_with_role(specials, "cls_token"),
                      sep = special_with_role(specials, "sep_token");
    blocks["post_processor"] = {{"type", "RobertaProcessing"},
                                {"sep", Json::array({sep, index_of(specials, sep)})},
                                {"cls", Json::array({cls, index_of(specials, cls)})},
                                {"trim_offsets", true},
                                {"add_prefix_space", options.add_prefix_space}};
  }
  std::string vocab_json, merges_txt = "#version: 0.2\n";
  append_json_vocab(vocab_json, trained.tokens);
  std::string text = blocks.dump();
  text.back() = ',';
  text +=
      R"("model":{"type":"BPE","dropout":null,"unk_token":null,"continuing_subword_prefix":"","end_of_word_suffix":"","fuse_unk":false,"byte_fallback":false,"vocab":)";
  text += vocab_json + R"(,"merges":[)";
  for (size_t i = 0; i < trained.merges.size(); ++i) {
    const std::string line = trained.merges[i].first + " " + trained.merges[i].second;
    if (i) text += ',';
    append_json_string(text, line);
    merges_txt += line + "\n";
  }
  text += "]}}";
  const bool gpt2 =
      !post.is_object() && std::find(specials.begin(), specials.end(), kEndOfText) != specials.end();
  return build(std::move(text), options, specials, gpt2 ? "GPT2Tokenizer" : "RobertaTokenizer",
               {{"vocab.json", std::move(vocab_json)}, {"merges.txt", std::move(merges_txt)}});
}

std::shared_ptr<Tokenizer> train_unigram_tokenizer(const std::vector<std::filesystem::path>& files,
                                                   const TrainTokenizerOptions& options,
                                                   const std::vector<std::string>& specials) {
  const std::string unk = special_with_role(specials, "unk_token");
  if (unk.empty())
    fail_with("add <unk>", "a Unigram vocabulary needs an unknown token among its special tokens");
  const std::string eos = special_with_role(specials, "eos_token");
  if (options.extra_ids > 0 && eos.empty())
    fail_with("add </s>", "a T5 tokenizer (extra_ids) needs an end token among its special tokens");
  const Json normalizer = {{"type", "Sequence"},
                           {"normalizers", Json::array({{{"type", "Nmt"}}, {{"type", "NFKC"}}})}};
  const Json metaspace = {
      {"type", "Metaspace"}, {"replacement", kSpace}, {"prepend_scheme", "always"}, {"split", true}};
  const Json pre_tokenizer = {{"type", "Sequence"},
                              {"pretokenizers", Json::array({{{"type", "WhitespaceSplit"}}, metaspace})}};
  const WordCounts words = count_words(files, cut_at_spaces, expand_with(normalizer, pre_tokenizer));
  if (words.empty()) fail_without_words(files);
  UnigramTrainerOptions o;
  o.vocab_size = options.vocab_size - static_cast<int32_t>(specials.size()) - options.extra_ids;
  o.max_piece_length = options.max_token_length > 0 ? options.max_token_length : o.max_piece_length;
  o.shrinking_factor = options.shrinking_factor;
  o.num_sub_iterations = options.num_sub_iterations;
  o.seed_size = options.seed_size;
  o.alphabet = choose_alphabet(words, options.limit_alphabet, options.initial_alphabet);
  check_size(o.alphabet.size() + specials.size() + static_cast<size_t>(options.extra_ids), options);
  const std::vector<ScoredPiece> pieces = train_unigram(words, o);
  std::vector<ScoredPiece> vocab;
  vocab.reserve(specials.size() + pieces.size() + static_cast<size_t>(options.extra_ids));
  std::vector<TokenSpec> sentinels;
  for (const std::string& special : specials) vocab.push_back({special, 0.0});
  for (const ScoredPiece& piece : pieces)
    if (std::find(specials.begin(), specials.end(), piece.text) == specials.end()) vocab.push_back(piece);
  for (int32_t i = options.extra_ids - 1; i >= 0; --i) {
    vocab.push_back({fmt::format("<extra_id_{}>", i), 0.0});
    sentinels.push_back({static_cast<int64_t>(vocab.size()) - 1, vocab.back().text, true, false});
  }
  Json blocks = common_blocks(specials, normalizer, pre_tokenizer, metaspace, sentinels);
  if (options.extra_ids > 0) blocks["post_processor"] = end_template(eos, index_of(specials, eos));
  std::string text = blocks.dump();
  text.back() = ',';
  text += fmt::format(R"("model":{{"type":"Unigram","unk_id":{},"byte_fallback":false,"vocab":[)",
                      index_of(specials, unk));
  for (size_t i = 0; i < vocab.size(); ++i) {
    text += i == 0 ? "[" : ",[";
    append_json_string(text, vocab[i].text);
    text += vocab[i].score == 0 ? ",0.0]" : fmt::format(",{}]", vocab[i].score);
  }
  text += "]}}";
  warn_of_size(vocab.size(), options);
  // The reference's own classes (XLMRobertaTokenizer, T5Tokenizer of 5.24) read the vocabulary of a
  // tokenizer.json and drop its normalizer; this one reads all of it.
  return build(std::move(text), options, specials, "PreTrainedTokenizerFast", {});
}

}  // namespace
}  // namespace text

std::shared_ptr<Tokenizer> train_tokenizer(const std::vector<std::filesystem::path>& files,
                                           const TrainTokenizerOptions& options) try {
  if (files.empty()) fail("train_tokenizer needs at least one text file");
  std::vector<std::string> specials = options.special_tokens;
  const bool wordpiece = options.type == "wordpiece";
  if (options.extra_ids < 0 || (options.extra_ids > 0 && options.type != "unigram"))
    fail("extra_ids {} for type {}: the sentinels are those of a unigram tokenizer, 0 or more",
         options.extra_ids, options.type);
  if (specials.empty() && options.extra_ids > 0) specials = {"<pad>", "</s>", "<unk>"};
  if (specials.empty())
    specials = wordpiece ? std::vector<std::string>{"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}
                         : std::vector<std::string>{"<s>", "<pad>", "</s>", "<unk>", "<mask>"};
  if (wordpiece) return text::train_wordpiece(files, options, specials);
  if (options.type == "bpe") return text::train_byte_level(files, options, specials);
  if (options.type == "unigram") return text::train_unigram_tokenizer(files, options, specials);
  fail_with("one of wordpiece, bpe, unigram", "unknown tokenizer type {:?}", options.type);
} catch (...) {
  rethrow_as_error();
}

}  // namespace graft
