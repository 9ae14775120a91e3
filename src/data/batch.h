// A batch without padding: all sequences end to end (docs/design.md, idea 1).
#pragma once
#include <cstdint>
#include <vector>

#include "graft/tokenizer.h"

namespace graft::data {

// T rows in B sequences. The task fills the labels.
struct RaggedBatch {
  std::vector<int32_t> input_ids;            // [T]
  std::vector<int32_t> token_type_ids;       // [T]
  std::vector<int32_t> position_in_example;  // [T] 0..len-1 in each sequence
  std::vector<int32_t> cu_seqlens{0};        // [B+1]
  std::vector<int64_t> example_index;  // [B] in the global batch or the data set: the key of its randomness
  int32_t max_len = 0;
  std::vector<int32_t> labels;      // single label: [B], or one for each of label_rows
  std::vector<int32_t> label_rows;  // rows that the labels belong to (masked-lm); ascending
  std::vector<float> float_labels;  // multi-hot [B, num_labels], or regression [B]

  int32_t size() const { return static_cast<int32_t>(cu_seqlens.size()) - 1; }  // B
  int32_t rows() const { return cu_seqlens.back(); }                            // T
  // Keeps the capacity: a loop does not allocate.
  void clear();
  void append(const Encoding& encoding, int64_t index);
  // `token_type_ids` may be null: zeros.
  void append(const int32_t* ids, const int32_t* token_type_ids, int32_t length, int64_t index);
};

}  // namespace graft::data
