#include "models/network.h"

#include <algorithm>

#include "base/error.h"

namespace graft::models {

RowSelection all_rows(const data::RaggedBatch& batch) { return {nullptr, batch.outputs().rows(), false}; }

RowSelection first_rows(const data::RaggedBatch& batch) {
  return {batch.outputs().cu_seqlens.data(), batch.size(), true};
}

RowSelection last_rows(engine::Tape& tape, const data::RaggedBatch& batch) {
  auto* rows = tape.push_array<int32_t>(batch.size());
  for (int32_t b = 0; b < batch.size(); ++b)
    rows[b] = batch.outputs().cu_seqlens[static_cast<size_t>(b) + 1] - 1;
  return {rows, batch.size(), true};
}

RowSelection label_rows(const data::RaggedBatch& batch) {
  static constexpr int32_t kNoRow = 0;  // not null: a batch without labels selects no row, not all of them
  const auto n = static_cast<int64_t>(batch.label_rows.size());
  return {n == 0 ? &kNoRow : batch.label_rows.data(), n, false};
}

Inputs make_inputs(engine::Tape& tape, const data::Sequences& sequences, const data::RaggedBatch& batch) {
  Inputs in;
  in.rows.num_rows = sequences.rows();
  in.rows.num_sequences = sequences.size();
  in.rows.cu_seqlens = sequences.cu_seqlens.data();
  in.rows.position = sequences.position_in_example.data();
  in.rows.example = batch.sequence_keys.data();
  auto* sequence = tape.push_array<int32_t>(sequences.rows());
  for (int32_t b = 0; b < sequences.size(); ++b) {
    const int32_t begin = sequences.cu_seqlens[static_cast<size_t>(b)];
    const int32_t end = sequences.cu_seqlens[static_cast<size_t>(b) + 1];
    // A classification head would read the first row of the next sequence.
    if (begin == end) fail("sequence {} of the batch (example {}) has no tokens", b, batch.example_of(b));
    std::fill(sequence + begin, sequence + end, b);
    in.max_position = std::max<int64_t>(in.max_position, in.rows.position[end - 1]);
  }
  in.rows.sequence = sequence;
  in.input_ids = sequences.input_ids.data();
  in.token_type_ids = sequences.token_type_ids.data();
  return in;
}

Inputs make_inputs(engine::Tape& tape, const data::RaggedBatch& batch) {
  return make_inputs(tape, batch, batch);
}

Forward Network::forward(engine::Tape& tape, const data::RaggedBatch& batch,
                         const ForwardOptions& options) const {
  Forward out;
  Inputs inputs = make_inputs(tape, batch), decoder;
  if (batch.decoder.size() > 0) {
    if (batch.decoder.size() != batch.size())
      fail("a batch of {} sequences has {} for the decoder", batch.size(), batch.decoder.size());
    decoder = make_inputs(tape, batch.decoder, batch);
    inputs.decoder = &decoder;
  }
  if (options.hidden_states) {
    inputs.hidden_states = &out.hidden_states;
    inputs.encoder_hidden_states = &out.encoder_hidden_states;
    inputs.last_layer = &out.last_layer;
  }
  const RowSelection read = head->rows(tape, batch);
  out.hidden = cached ? cached->rows(tape, batch)
                      : encoder->encode(tape, inputs, options.every_row ? all_rows(batch) : read);
  if (!cached && options.every_row && read.rows)
    out.hidden = engine::gather(tape, out.hidden, read.rows, read.n);
  const engine::Rows& all = inputs.decoder ? decoder.rows : inputs.rows;
  out.rows = read.rows ? engine::select_rows(tape, all, read.rows, read.n) : all;
  if (options.logits) out.logits = head->logits(tape, out.hidden, out.rows);
  return out;
}

}  // namespace graft::models
