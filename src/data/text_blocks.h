// Text to sequences of ids for language modelling: one per line, or packed to full length (run_mlm).
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string_view>
#include <vector>

#include "data/token_array.h"
#include "graft/dataset.h"
#include "graft/tokenizer.h"

namespace graft::data {

// Concatenated sequences of ids, in memory or in the files of a cache (token_cache.h).
struct TokenStore {
  TokenArray<int32_t> ids;
  TokenArray<int64_t> offsets{0};   // [size()+1]
  TokenArray<uint8_t> word_starts;  // parallel to ids where asked for: 1 = begins a word, 0 = continues one
  TokenArray<int64_t> documents;    // where each text begins in ids, where asked for

  int64_t size() const { return static_cast<int64_t>(offsets.size()) - 1; }
  int32_t length(int64_t i) const { return static_cast<int32_t>(offsets[at(i) + 1] - offsets[at(i)]); }
  const int32_t* row(int64_t i) const { return ids.read(at(offsets[at(i)]), at(length(i))); }
  const uint8_t* row_word_starts(int64_t i) const {
    return word_starts.empty() ? nullptr : word_starts.read(at(offsets[at(i)]), at(length(i)));
  }
  std::vector<int32_t> lengths() const;  // for Sampler

 private:
  static size_t at(int64_t i) { return static_cast<size_t>(i); }
};

struct TextBlockOptions {
  bool line_by_line = false;  // each line a sequence, truncated; else packed into blocks of max_seq_length
  int32_t max_seq_length = 512;
  bool word_starts = false;                 // for whole-word masking
  bool documents = false;                   // for attention that does not cross texts
  int32_t validation_split_percentage = 0;  // of the lines, chosen by seed
  uint64_t seed = 42;
  int64_t max_train_samples = -1;       // sequences, not lines; -1 = all
  int64_t max_validation_samples = -1;  // the same of the validation part
  DatasetOptions columns;               // where files have columns: which ones hold text
};

// Counts for the log: lines and tokens that were read, skipped and dropped.
struct TextBlockCounts {
  int64_t lines = 0;             // all lines (texts) read
  int64_t empty_lines = 0;       // dropped: nothing but white space, or no token
  int64_t validation_lines = 0;  // held out
  int64_t tokens = 0;            // kept
  int64_t truncated_lines = 0;   // line by line: lines cut at max_seq_length,
  int64_t truncated_tokens = 0;  //   and what was cut from them
  int64_t dropped_tokens = 0;    // packed: at the end, less than a block
};

struct TextBlocks {
  TokenStore train, validation;
  TextBlockCounts counts;
};

// Takes sequences that are complete, so that they need not stay in memory.
class TextBlockSink {
 public:
  virtual ~TextBlockSink() = default;
  // `offsets` holds the ends of the new sequences; they and `documents` count from the first sequence of all.
  virtual void take(bool validation, const TokenStore& sequences) = 0;
};

// Reads files of any row format; both texts of a pair count as lines. Tokenises in parallel, in pieces of
// bounded size; the result does not depend on the number of threads. Packed: the ids of all lines, special
// tokens included, are concatenated and cut into blocks. An incomplete last block is dropped unless it is the
// only one. Throws Error if no sequence is left.
TextBlocks read_text_blocks(const std::vector<std::filesystem::path>& files, const Tokenizer& tokenizer,
                            const TextBlockOptions& options);
// The same with Tokenizer::encode as a function, called from several threads at once. With `sink` the
// sequences go there, piece by piece, and the result holds the counts.
using EncodeText = std::function<Encoding(std::string_view, const EncodeOptions&)>;
TextBlocks read_text_blocks(const std::vector<std::filesystem::path>& files, const EncodeText& encode_text,
                            const TextBlockOptions& options, TextBlockSink* sink = nullptr);

// Whether row `index` of the corpus is held out for validation: one seeded row of each 100/percentage rows.
// The share is exact, and the choice is a function of (seed, index).
bool in_validation_split(uint64_t seed, int64_t index, int32_t percentage);

}  // namespace graft::data
