// Trains a vocabulary from text files, and measures how well a tokenizer fits a text.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "graft/export.h"
#include "graft/tokenizer.h"

namespace graft {

// The reference's trainer options and defaults.
struct TrainTokenizerOptions {
  std::string type =
      "wordpiece";  // "wordpiece" (as BERT), "bpe" (byte-level, as RoBERTa), "unigram" (as T5 / XLM-R)
  int32_t vocab_size = 30000;  // special tokens included
  int64_t min_frequency = 0;   // wordpiece, bpe: pairs that are rarer are not merged
  // Empty: [PAD] [UNK] [CLS] [SEP] [MASK] for wordpiece, <s> <pad> </s> <unk> <mask> for the others, <pad>
  // </s> <unk> with extra_ids. The first ids.
  std::vector<std::string> special_tokens;
  // unigram: > 0 makes a T5 tokenizer. Its last ids are the sentinels <extra_id_0> (the very last), ..., and
  // a text ends in </s>.
  int32_t extra_ids = 0;
  int32_t limit_alphabet = 0;  // most characters to keep (the most frequent); 0: all
  std::vector<std::string>
      initial_alphabet;          // characters kept regardless of frequency (bpe: always all 256 bytes)
  int32_t max_token_length = 0;  // characters; 0: no limit (unigram: 16)

  bool lowercase = true;          // wordpiece: tokenizer_config.json's do_lower_case; others: off
  bool add_prefix_space = false;  // bpe
  int32_t model_max_length = 512;

  double shrinking_factor = 0.75;  // unigram: share of pieces kept per pruning round
  int32_t num_sub_iterations = 2;  // unigram: EM steps per round
  int32_t seed_size = 1000000;     // unigram: number of initial candidates
};

// Reads the files line by line, in parallel; the result does not depend on the number of threads. Words do
// not span lines, and a byte order mark is dropped. Save the result with Tokenizer::save. Throws Error for an
// unknown type, an empty text, or a vocab_size below the number of special tokens and characters.
GRAFT_API std::shared_ptr<Tokenizer> train_tokenizer(const std::vector<std::filesystem::path>& files,
                                                     const TrainTokenizerOptions& options);

// How a tokenizer fits a text.
struct TokenizerStats {
  int64_t lines = 0, bytes = 0, characters = 0;
  int64_t words = 0;   // separated by white space
  int64_t tokens = 0;  // without special tokens around lines
  int64_t unknown_tokens = 0;
  int64_t replaced = 0;  // invalid UTF-8 sequences
  TokenizerStats& operator+=(const TokenizerStats& other);
  double unknown_rate() const {
    return tokens ? static_cast<double>(unknown_tokens) / static_cast<double>(tokens) : 0;
  }
  double fertility() const { return words ? static_cast<double>(tokens) / static_cast<double>(words) : 0; }
  double bytes_per_token() const {
    return tokens ? static_cast<double>(bytes) / static_cast<double>(tokens) : 0;
  }
};
// Statistics of a file (lines end at U+000A, a byte order mark is dropped) or of texts, in parallel.
GRAFT_API TokenizerStats tokenizer_stats(const Tokenizer& tokenizer, const std::filesystem::path& file);
GRAFT_API TokenizerStats tokenizer_stats(const Tokenizer& tokenizer, const std::vector<std::string>& texts);

}  // namespace graft
