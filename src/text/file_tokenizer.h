// The tokenizer of a tokenizer.json: normalizer, pre-tokenizer, model and post-processor, one after the
// other.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "graft/tokenizer.h"
#include "text/added_tokens.h"
#include "text/decoder.h"
#include "text/fast_path.h"
#include "text/model.h"
#include "text/normalizer.h"
#include "text/post_processor.h"
#include "text/pre_tokenizer.h"

namespace graft::text {

// Everything that was read: the parts, and their texts for saving.
struct TokenizerParts {
  std::unique_ptr<Normalizer> normalizer;
  std::unique_ptr<PreTokenizer> pre_tokenizer;
  std::unique_ptr<Model> model;
  PostProcessor post_processor;
  Decoder decoder;
  AddedTokens added;
  TruncationBlock truncation;
  PaddingBlock padding;
  Json blocks;                                  // tokenizer.json without the vocabulary and the merges
  std::string json_text;                        // tokenizer.json as it was read
  std::map<std::string, std::string> sidecars;  // other files of the folder, by name, as they were read
  Json config = Json::object();                 // tokenizer_config.json
  std::map<std::string, std::string> roles;     // "cls_token" -> "[CLS]"
  std::string where;                            // the file, for messages
  std::string source;                           // its name: "tokenizer.json", "vocab.txt"
};

class FileTokenizer : public Tokenizer {
 public:
  explicit FileTokenizer(TokenizerParts parts);
  ~FileTokenizer() override;

  Encoding encode(std::string_view text, const EncodeOptions& options) const override;
  Encoding encode_pair(std::string_view text, std::string_view pair,
                       const EncodeOptions& options) const override;
  Encoding encode_words(const std::vector<std::string>& words, const EncodeOptions& options) const override;
  bool prefixes_words() const override { return prefix_words_; }
  // Encodes a text without copying the tokens: see(tokens of the text, template with the special tokens
  // around it). Returns how many invalid stretches of UTF-8 were replaced.
  using Visitor = std::function<void(const SequenceTokens&, const std::vector<TemplatePiece>&)>;
  int32_t visit(std::string_view text, bool add_special_tokens, const Visitor& see) const;
  std::string decode(const std::vector<int32_t>& ids, bool skip_special_tokens, bool clean_up) const override;
  int32_t vocab_size() const override;
  std::string id_to_token(int32_t id) const override;
  std::string token_source(int32_t id) const override;
  std::optional<int32_t> token_to_id(std::string_view token) const override;
  std::optional<int32_t> special_id(std::string_view role) const override;
  bool is_special(int32_t id) const override { return parts_.added.is_special(id); }
  int32_t model_max_length() const override;
  TruncationBlock truncation() const override { return parts_.truncation; }
  PaddingBlock padding() const override { return parts_.padding; }
  std::string normalize(std::string_view text) const override;
  std::string kind() const override { return parts_.model->kind(); }
  int32_t add_new_tokens(const std::vector<NewToken>& tokens) override;
  void save(const std::filesystem::path& folder) const override;

 private:
  void encode_text(std::string_view text, bool offsets, Scratch& scratch, SequenceTokens& out,
                   int32_t& num_replaced) const;
  class CharCounter;
  void refresh();
  void encode_section(std::string_view text, const Section& section, bool offsets, CharCounter& chars,
                      Scratch& scratch, SequenceTokens& out) const;
  void encode_fast(std::string_view text, const Section& section, bool offsets, CharCounter& chars,
                   Scratch& scratch, SequenceTokens& out) const;
  void encode_general(std::string_view text, size_t begin, size_t end, bool offsets,
                      SequenceTokens& out) const;
  void push_added(std::string_view text, const Section& section, bool offsets, CharCounter& chars,
                  SequenceTokens& out) const;
  void encode_plain(const AlignedText& text, bool offsets, SequenceTokens& out) const;
  Span added_span(std::string_view text, const Section& section, bool is_first) const;
  void trim_offsets(SequenceTokens& tokens, bool add_prefix_space) const;
  const std::vector<TemplatePiece>& pieces_of(bool add_special_tokens, bool is_pair) const;
  Encoding assemble(SequenceTokens& first, SequenceTokens* second, const EncodeOptions& options) const;
  void append_window(const std::vector<TemplatePiece>& pieces, const SequenceTokens* sequences[2],
                     const Span* windows, const EncodeOptions& options, Encoding& out) const;
  std::string added_tokens_text() const;
  Json added_outside_vocab() const;

  TokenizerParts parts_;
  std::unique_ptr<FastPath> fast_;  // nullptr: every text takes the general path
  mutable ScratchPool scratch_;
  std::vector<std::pair<int32_t, int32_t>>
      // by id: number of white space characters at both ends of a token, for trimming
      spaces_;
  bool prefix_words_ = false;  // a space is put before each pre-split word, which the reference requires
  bool changed_ = false;       // tokens were added since loading
};

}  // namespace graft::text
