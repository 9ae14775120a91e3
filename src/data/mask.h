// Masked language modelling (Devlin et al. 2019, "BERT"): selects and replaces tokens.
#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include "data/span_mask.h"
#include "graft/tokenizer.h"

namespace graft::data {

struct MlmOptions {
  double mlm_probability = 0.15;
  bool whole_word = false;  // masks all tokens of a word or none
  uint64_t seed = 42;
  SpanMaskOptions spans{};       // `on`: spans of whole words
  bool only_mask_token = false;  // a selected token always becomes the mask token (ELECTRA's generator)
};

// The targets of the masked-LM head.
struct MaskedRows {
  std::vector<int32_t> rows;    // rows of the batch, increasing
  std::vector<int32_t> labels;  // the original id
  void clear() { rows.clear(), labels.clear(); }
};

// A token is selected with mlm_probability. It becomes the mask token (80 %), a random id (10 %) or stays
// unchanged (10 %), as in transformers' DataCollatorForLanguageModeling. Special tokens are never selected.
// Whole words: a word is selected with mlm_probability, and its tokens are replaced independently. Each
// choice is a function of (seed, epoch, example, position) and does not depend on process, batch or order.
// Spans (data/span_mask.h): mlm_probability of a sequence's tokens, and all tokens of a span become mask
// tokens (80 %), random ids (10 %) or stay (10 %); a function of (seed, epoch, example) and the sequence.
class MlmMasker {
 public:
  // Throws Error when the tokenizer has no mask token or the probability is not in (0, 1].
  MlmMasker(const Tokenizer& tokenizer, const MlmOptions& options);
  // The same from parts. `special` [V] is 1 for ids that are never selected.
  MlmMasker(std::optional<int32_t> mask_id, std::vector<uint8_t> special, const MlmOptions& options);

  // Masks tokens of `ids` [length] in place and appends rows (first_row + position) and original ids to
  // `masked`. `example` is the index of the sequence in the data set. `word_starts` [length] is required for
  // whole words and spans only. Evaluation passes a fixed epoch (-1), so that it always masks the same
  // tokens.
  void mask(int64_t epoch, int64_t example, int32_t* ids, const uint8_t* word_starts, int32_t length,
            int32_t first_row, MaskedRows& masked) const;

 private:
  void mask_spans(int64_t epoch, int64_t example, int32_t* ids, const uint8_t* word_starts, int32_t length,
                  int32_t first_row, MaskedRows& masked) const;
  // The mask token, a random id or `id`, by two words of 32 random bits.
  int32_t replaced(int32_t id, uint32_t kind, uint32_t random) const;
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
