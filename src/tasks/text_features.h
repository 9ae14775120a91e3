// Texts and pairs of texts with labels, as ids: in memory, or in the files of a cache on disk.
#pragma once
#include "data/array_cache.h"
#include "data/labels.h"
#include "graft/dataset.h"
#include "graft/tokenizer.h"
#include "tasks/task.h"

namespace graft::tasks {

// Counts of an encoding, for the log.
struct EncodingCounts {
  int64_t truncated_examples = 0, truncated_tokens = 0, unknown_tokens = 0, tokens = 0;
};

// Rows of texts as ids and labels, concatenated.
struct TextRows {
  data::TokenArray<int32_t> ids, types;  // token_type_ids are parallel to ids
  data::TokenArray<int64_t> offsets{0};  // [rows + 1]
  data::TokenArray<int32_t> labels;      // [rows], of one label a row
  data::TokenArray<float> float_labels;  // [rows, width], of several labels (1 or 0 each) or a number
  EncodingCounts counts;
};

// Encodes all texts; `labels` null = unlabelled (prediction). Throws Error with the line for a row without
// tokens, which occurs if the tokenizer adds no special tokens.
TextRows encode_text_rows(const Dataset& dataset, const Tokenizer& tokenizer, const data::LabelMap* labels,
                          int32_t max_seq_length);
// The same of rows in a file, through a cache on disk.
TextRows cached_text_rows(const Dataset& dataset, const Tokenizer& tokenizer, const data::LabelMap& labels,
                          int32_t max_seq_length, const data::TokenCache& cache);

class TextFeatures : public Features {
 public:
  explicit TextFeatures(TextRows rows) : rows_(std::move(rows)) {}
  TextFeatures(const Dataset& dataset, const Tokenizer& tokenizer, const data::LabelMap* labels,
               int32_t max_seq_length)
      : TextFeatures(encode_text_rows(dataset, tokenizer, labels, max_seq_length)) {}

  int64_t size() const override { return static_cast<int64_t>(rows_.offsets.size()) - 1; }
  int32_t length(int64_t i) const override;
  const EncodingCounts& counts() const { return rows_.counts; }

 protected:
  void append_sequences(data::RaggedBatch& batch, int64_t i, int64_t index, int64_t epoch) const override;

 private:
  TextRows rows_;
};

}  // namespace graft::tasks
