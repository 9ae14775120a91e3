#include "models/network.h"

#include "base/error.h"

namespace graft::models {

Inputs make_inputs(engine::Tape& tape, const data::RaggedBatch& batch) {
  Inputs in;
  in.rows.num_rows = batch.rows();
  in.rows.num_sequences = batch.size();
  in.rows.cu_seqlens = batch.cu_seqlens.data();
  in.rows.position = batch.position_in_example.data();
  in.rows.example = batch.example_index.data();
  auto* sequence = tape.push_array<int32_t>(batch.rows());
  for (int32_t b = 0; b < batch.size(); ++b) {
    const int32_t begin = batch.cu_seqlens[static_cast<size_t>(b)];
    const int32_t end = batch.cu_seqlens[static_cast<size_t>(b) + 1];
    // A classification head would read the first row of the next sequence.
    if (begin == end)
      fail("sequence {} of the batch (example {}) has no tokens", b,
           batch.example_index[static_cast<size_t>(b)]);
    std::fill(sequence + begin, sequence + end, b);
  }
  in.rows.sequence = sequence;
  in.input_ids = batch.input_ids.data();
  in.token_type_ids = batch.token_type_ids.data();
  return in;
}

engine::Var forward_logits(engine::Tape& tape, const Network& network, const data::RaggedBatch& batch) {
  Inputs inputs = make_inputs(tape, batch);
  static constexpr int32_t kNoRow = 0;  // not null: an empty batch of labels reads no rows, not all of them
  const int32_t* rows = batch.label_rows.empty() ? &kNoRow : batch.label_rows.data();
  int64_t n = static_cast<int64_t>(batch.label_rows.size());
  if (network.head->reads() == Reads::first_row) {
    rows = batch.cu_seqlens.data();  // the first row of each sequence
    n = batch.size();
    inputs.one_row_each = true;
  }
  const engine::Var hidden = network.encoder->encode(tape, inputs, rows, n);
  return network.head->logits(tape, hidden, engine::select_rows(tape, inputs.rows, rows, n));
}

}  // namespace graft::models
