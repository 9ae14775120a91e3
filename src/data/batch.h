// A batch without padding: all sequences end to end (docs/design.md, idea 1).
#pragma once
#include <cstdint>
#include <vector>

#include "graft/tokenizer.h"

namespace graft::data {

// T rows in B sequences.
struct Sequences {
  std::vector<int32_t> input_ids;            // [T]
  std::vector<int32_t> token_type_ids;       // [T]
  std::vector<int32_t> position_in_example;  // [T] 0..len-1 in each sequence
  std::vector<int32_t> cu_seqlens{0};        // [B+1]
  int32_t max_len = 0;

  int32_t size() const { return static_cast<int32_t>(cu_seqlens.size()) - 1; }  // B
  int32_t rows() const { return cu_seqlens.back(); }                            // T
  // Keeps the capacity: a loop does not allocate.
  void clear();
  // `token_type_ids` may be null: zeros.
  void add(const int32_t* ids, const int32_t* token_type_ids, int32_t length);
};

// What a model reads: B sequences of N examples; most tasks have one sequence an example. An encoder-decoder
// may have a second stream, one sequence for each of the first. The task fills the labels.
struct RaggedBatch : Sequences {
  std::vector<int64_t> sequence_keys;   // [B] the key of its randomness
  std::vector<int64_t> examples;        // [N] index in the data set
  std::vector<int32_t> cu_examples{0};  // [N+1] the sequences of each example
  Sequences decoder;                    // the decoder's input: B sequences, or none
  std::vector<int32_t> labels;          // single label: [N], or one for each of label_rows
  std::vector<int32_t> label_rows;      // rows of outputs() that the labels belong to; ascending
  std::vector<float> float_labels;      // multi-hot [N, num_labels], or regression [N]
  // Spans: [B] the first and the last token of the answer in its sequence; negative: there is none.
  std::vector<int32_t> start_positions, end_positions;
  double step_labels = 0;  // labels in all batches of the optimizer step; 0: this batch is a step of its own

  int32_t num_examples() const { return static_cast<int32_t>(examples.size()); }  // N
  int64_t example_of(int32_t sequence) const;                                     // its index in the data set
  // The sequences whose hidden states the head reads.
  const Sequences& outputs() const { return decoder.size() > 0 ? decoder : *this; }
  int64_t all_rows() const { return int64_t{rows()} + decoder.rows(); }  // of both streams
  void clear();
  // An example of one sequence; `index` is its index and the key.
  void append(const Encoding& encoding, int64_t index);
  void append(const int32_t* ids, const int32_t* token_type_ids, int32_t length, int64_t index);
  // An example of any number of sequences, which follow.
  void begin_example(int64_t example);
  void append_sequence(const int32_t* ids, const int32_t* token_type_ids, int32_t length, int64_t key);
};

// The key of sequence `sequence` of the example with key `example`, where examples have several. Throws Error
// beyond 2^20 sequences.
int64_t sequence_key(int64_t example, int64_t sequence);

}  // namespace graft::data
