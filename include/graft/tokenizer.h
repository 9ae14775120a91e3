// Tokenizers: text to ids and back, one interface for every kind of Hugging Face tokenizer.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graft/export.h"

namespace graft {

// The tokens of one text or pair. All vectors have one entry per token.
struct Encoding {
  std::vector<int32_t> input_ids;
  std::vector<int32_t> token_type_ids;
  std::vector<std::pair<int32_t, int32_t>>
      offsets;                        // [begin, end) in Unicode code points of its text; special: 0,0
  std::vector<int32_t> word_ids;      // index of the word in its text, -1 for special tokens
  std::vector<int32_t> sequence_ids;  // 0 first text, 1 second, -1 special
  std::vector<uint8_t> special_tokens_mask;
  std::vector<Encoding> overflowing;  // further windows, with return_overflowing
  int32_t num_truncated = 0;          // truncated tokens that are in no window
  int32_t num_replaced = 0;           // invalid UTF-8 sequences that were replaced by U+FFFD
};

enum class Truncation { none, longest_first, only_first, only_second };
enum class TruncationSide {
  as_configured,
  right,
  left
};  // as_configured: tokenizer_config.json's truncation_side

struct EncodeOptions {
  bool add_special_tokens = true;
  Truncation truncation = Truncation::none;
  int32_t max_length = 0;  // with special tokens; 0 = no limit
  int32_t stride = 0;      // overlap of overflowing windows
  // Every window, also the overflowing ones. Of two cut texts each window of the first is combined with each
  // of the second. Throws Error where the windows have more than 2^21 tokens and more than 16 times those of
  // the texts.
  bool return_overflowing = false;
  TruncationSide truncation_side = TruncationSide::as_configured;
  // Windows of tokenizers 0.23, for comparison: reading stops after the word that reaches max_length tokens,
  // and the rest is in no window. Overflowing windows of templates keep type id 1 for the second text.
  // Otherwise every token is in a window and the template sets the type ids.
  bool reference_windows = false;
  // Fills only input_ids and, unless all are 0, token_type_ids. Faster.
  bool ids_only = false;
};

// A token to add to a vocabulary, with the reference's flags.
struct NewToken {
  std::string content;
  bool special = false;      // skipped by decode, never split
  bool single_word = false;  // matches only without a word character on either side
  bool lstrip = false;       // includes white space on its left
  bool rstrip = false;       // includes white space on its right
  bool normalized = true;    // matches the normalized text, with its content normalized
};

// The "truncation" and "padding" blocks of tokenizer.json. encode() does not apply them, like `transformers`
// by default.
struct TruncationBlock {
  Truncation strategy = Truncation::none;
  int32_t max_length = 0, stride = 0;
  bool left = false;
};
struct PaddingBlock {
  bool enabled = false, left = false;
  int32_t fixed_length = 0;        // 0: to the longest of the batch
  int32_t pad_to_multiple_of = 0;  // 0: no
  int32_t pad_id = 0, pad_type_id = 0;
};

// Pads every encoding of a batch (special_tokens_mask 1, word and sequence ids -1) and returns the attention
// mask, one row per encoding. For export and comparison only; the engine does not pad.
GRAFT_API std::vector<std::vector<uint8_t>> pad_batch(std::vector<Encoding>& batch,
                                                      const PaddingBlock& padding);

// Thread-safe after loading, except for the methods that add tokens. Text is UTF-8; invalid bytes are
// replaced as by Python's errors="replace".
class GRAFT_API Tokenizer {
 public:
  // From a checkpoint folder: tokenizer.json, else the legacy files (vocab.txt, vocab.json + merges.txt,
  // sentencepiece.bpe.model, spiece.model). Throws Error naming the file and the missing part.
  static std::shared_ptr<Tokenizer> from_pretrained(const std::filesystem::path& folder);
  virtual ~Tokenizer() = default;

  virtual Encoding encode(std::string_view text, const EncodeOptions& options = {}) const = 0;
  virtual Encoding encode_pair(std::string_view text, std::string_view pair,
                               const EncodeOptions& options = {}) const = 0;
  // Pre-split words (NER): word_ids are indices into `words`.
  virtual Encoding encode_words(const std::vector<std::string>& words,
                                const EncodeOptions& options = {}) const = 0;
  // Whether encode_words puts a space before words where encode puts none before a text: byte-level
  // tokenizers without add_prefix_space (RoBERTa, GPT-2).
  virtual bool prefixes_words() const = 0;
  // encode() for each text, in parallel. `pairs` is empty, or holds the second text of each.
  std::vector<Encoding> encode_batch(const std::vector<std::string>& texts,
                                     const std::vector<std::string>& pairs = {},
                                     const EncodeOptions& options = {}) const;
  // Ids back to text by the file's decoder. `clean_up` also drops the spaces before punctuation and in
  // English contractions, as `transformers` does with clean_up_tokenization_spaces.
  virtual std::string decode(const std::vector<int32_t>& ids, bool skip_special_tokens = true,
                             bool clean_up = false) const = 0;
  // The tokens of an encoding as text, for display.
  std::vector<std::string> tokens(const Encoding& encoding) const;

  // One more than the highest id (added tokens included).
  virtual int32_t vocab_size() const = 0;
  virtual std::string id_to_token(int32_t id) const = 0;  // "" = no such token
  // The file that defines the token: "tokenizer.json", "vocab.txt", "added_tokens.json", ...; "add_tokens"
  // for a token added after loading; "" = no such token.
  virtual std::string token_source(int32_t id) const = 0;
  virtual std::optional<int32_t> token_to_id(std::string_view token) const = 0;
  // Special tokens by role: "unk_token", "cls_token", "sep_token", "pad_token", "mask_token", "bos_token",
  // "eos_token".
  virtual std::optional<int32_t> special_id(std::string_view role) const = 0;
  virtual bool is_special(int32_t id) const = 0;
  // tokenizer_config.json's model_max_length; 0 = none.
  virtual int32_t model_max_length() const = 0;
  // The truncation and padding blocks of tokenizer.json.
  virtual TruncationBlock truncation() const = 0;
  virtual PaddingBlock padding() const = 0;
  // The text after the normalizer. Does not match added tokens.
  virtual std::string normalize(std::string_view text) const = 0;
  virtual std::string kind() const = 0;  // for display: "WordPiece", "BPE", "Unigram", "WordLevel"

  // Adds tokens at the end of the vocabulary; returns how many were new.
  virtual int32_t add_new_tokens(const std::vector<NewToken>& tokens) = 0;
  int32_t add_tokens(const std::vector<std::string>& tokens, bool special = false);
  // Throws Error if a token's id is outside an embedding of `num_embeddings` rows. The message names the
  // first such id, up to a dozen tokens and the files that define them.
  void check_embedding(int64_t num_embeddings) const;
  // Writes tokenizer.json and copies or writes the legacy files that the reference writes beside it.
  virtual void save(const std::filesystem::path& folder) const = 0;
};

}  // namespace graft
