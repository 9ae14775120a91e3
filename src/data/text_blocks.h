// Text to sequences of ids for language modelling: a line each, or packed to full length (run_mlm).
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string_view>
#include <vector>

#include "graft/dataset.h"
#include "graft/tokenizer.h"

namespace graft::data {

// Sequences of ids, end to end.
struct TokenStore {
  std::vector<int32_t> ids;
  std::vector<int64_t> offsets{0};   // [size()+1]
  std::vector<uint8_t> word_starts;  // parallel to ids where asked for: 1 = begins a word, 0 = continues one

  int64_t size() const { return static_cast<int64_t>(offsets.size()) - 1; }
  int32_t length(int64_t i) const { return static_cast<int32_t>(offsets[at(i) + 1] - offsets[at(i)]); }
  const int32_t* row(int64_t i) const { return ids.data() + offsets[at(i)]; }
  const uint8_t* row_word_starts(int64_t i) const {
    return word_starts.empty() ? nullptr : word_starts.data() + offsets[at(i)];
  }
  std::vector<int32_t> lengths() const;  // for Sampler

 private:
  static size_t at(int64_t i) { return static_cast<size_t>(i); }
};

struct TextBlockOptions {
  bool line_by_line = false;  // each line a sequence, truncated; else packed into blocks of max_seq_length
  int32_t max_seq_length = 512;
  bool word_starts = false;                 // for whole-word masking
  int32_t validation_split_percentage = 0;  // of the lines, chosen by seed
  uint64_t seed = 42;
  int64_t max_train_samples = -1;       // sequences, not lines; -1 = all
  int64_t max_validation_samples = -1;  // the same of the validation part
  DatasetOptions columns;               // where files have columns: which ones hold text
};

// What reading dropped and cut; to be told to the user.
struct TextBlockCounts {
  int64_t lines = 0;             // all lines (texts) read
  int64_t empty_lines = 0;       // dropped: nothing but white space, or no token
  int64_t validation_lines = 0;  // put aside
  int64_t tokens = 0;            // kept
  int64_t truncated_lines = 0;   // line by line: lines cut at max_seq_length,
  int64_t truncated_tokens = 0;  //   and what was cut from them
  int64_t dropped_tokens = 0;    // packed: at the end, less than a block
};

struct TextBlocks {
  TokenStore train, validation;
  TextBlockCounts counts;
};

// Reads files of any row format (of a pair both texts count as lines). Tokenises over all cores, a bounded
// piece at a time; the result does not depend on the number of threads. Packed: the ids of all lines, special
// tokens included, are put end to end over the whole corpus and cut; what does not fill a block at the end is
// dropped, unless it is all there is. Throws Error when nothing is left.
TextBlocks read_text_blocks(const std::vector<std::filesystem::path>& files, const Tokenizer& tokenizer,
                            const TextBlockOptions& options);
// The same with Tokenizer::encode as a function, called from several threads at once.
using EncodeText = std::function<Encoding(std::string_view, const EncodeOptions&)>;
TextBlocks read_text_blocks(const std::vector<std::filesystem::path>& files, const EncodeText& encode_text,
                            const TextBlockOptions& options);

// Whether row `index` of the corpus is put aside for validation: one seeded place in each stretch of
// 100/percentage rows, so that the share is exact and the choice is a function of (seed, index).
bool in_validation_split(uint64_t seed, int64_t index, int32_t percentage);

}  // namespace graft::data
