// Masked language modelling (Devlin et al. 2019, "BERT"): which tokens are hidden, and by what.
#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include "graft/tokenizer.h"

namespace graft::data {

struct MlmOptions {
  double mlm_probability = 0.15;
  bool whole_word = false;  // all tokens of a word are hidden or none
  uint64_t seed = 42;
};

// What the head has to predict.
struct MaskedRows {
  std::vector<int32_t> rows;    // rows of the batch, increasing
  std::vector<int32_t> labels;  // the id that stood there
  void clear() { rows.clear(), labels.clear(); }
};

// A token is chosen with mlm_probability; it becomes the mask token (80 %), a random id (10 %) or stays (10
// %), as in transformers' DataCollatorForLanguageModeling. Special tokens are never chosen. Whole words: a
// word is chosen with mlm_probability, and each of its tokens is then replaced by itself. Each choice is a
// function of (seed, epoch, example, position): any process, batch or order gives the same mask.
class MlmMasker {
 public:
  // Throws Error when the tokenizer has no mask token or the probability is not in (0, 1].
  MlmMasker(const Tokenizer& tokenizer, const MlmOptions& options);
  // The same from parts: `special` [V] is 1 for ids that are never chosen.
  MlmMasker(std::optional<int32_t> mask_id, std::vector<uint8_t> special, const MlmOptions& options);

  // Hides tokens of `ids` [length] in place and appends what was hidden to `masked`, as rows first_row +
  // position. `example` is the sequence's index in the data set; `word_starts` [length] is needed for whole
  // words only. An evaluation passes a fixed epoch of its own (for example -1), so that it always hides the
  // same tokens.
  void mask(int64_t epoch, int64_t example, int32_t* ids, const uint8_t* word_starts, int32_t length,
            int32_t first_row, MaskedRows& masked) const;

 private:
  bool is_special(int32_t id) const {
    return id >= 0 && id < vocab_size_ && special_[static_cast<size_t>(id)] != 0;
  }

  MlmOptions options_;
  uint64_t threshold_;  // of 32 random bits
  int32_t mask_id_;
  int32_t vocab_size_;
  std::vector<uint8_t> special_;  // [V]
};

}  // namespace graft::data
