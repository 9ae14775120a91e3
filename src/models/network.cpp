#include "models/network.h"

#include <algorithm>

#include "base/error.h"
#include "models/virtual_tokens.h"

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

namespace {

// The pass over rows that are laid out; the head reads `read` of them.
Forward run(engine::Tape& tape, const Network& network, const data::RaggedBatch& batch, Inputs inputs,
            const RowSelection& read, const ForwardOptions& options) {
  Forward out;
  inputs.invertible = network.invertible.get();
  if (options.hidden_states) {
    inputs.hidden_states = &out.hidden_states;
    inputs.encoder_hidden_states = &out.encoder_hidden_states;
    inputs.last_layer = &out.last_layer;
  }
  const engine::Rows& all = inputs.decoder ? inputs.decoder->rows : inputs.rows;
  const RowSelection computed = options.every_row ? RowSelection{nullptr, all.num_rows, false} : read;
  out.hidden =
      network.cached ? network.cached->rows(tape, batch) : network.encoder->encode(tape, inputs, computed);
  if (!network.cached && options.every_row && read.rows)
    out.hidden = engine::gather(tape, out.hidden, read.rows, read.n);
  out.rows = read.rows ? engine::select_rows(tape, all, read.rows, read.n) : all;
  if (options.logits) out.logits = network.head->logits(tape, out.hidden, out.rows);
  return out;
}

Forward run_with_virtual_tokens(engine::Tape& tape, const Network& network, const data::RaggedBatch& batch,
                                const ForwardOptions& options) {
  const auto first = static_cast<int32_t>(network.encoder->word_embeddings()->rows()),
             count = static_cast<int32_t>(network.num_virtual_tokens());
  const data::RaggedBatch longer = with_virtual_tokens(batch, first, count);
  RowSelection read = network.head->rows(tape, longer);
  if (read.rows && read.n > 0) read.rows = tape.push_copy(read.rows, read.n);
  Forward out = run(tape, network, batch, inputs_on_tape(tape, longer, batch), read, options);
  if (out.hidden_states.empty()) return out;
  const std::vector<int32_t> kept = text_rows(longer, count);
  const auto n = static_cast<int64_t>(kept.size());
  const int32_t* rows = tape.push_copy(kept.data(), n);
  const size_t whole = out.hidden_states.size() - (options.every_row ? 0 : 1);
  for (size_t i = 0; i < whole; ++i)
    out.hidden_states[i] = engine::gather(tape, out.hidden_states[i], rows, n);
  if (out.last_layer && options.every_row) out.last_layer = engine::gather(tape, out.last_layer, rows, n);
  return out;
}

}  // namespace

Forward Network::forward(engine::Tape& tape, const data::RaggedBatch& batch,
                         const ForwardOptions& options) const {
  if (num_virtual_tokens() > 0) return run_with_virtual_tokens(tape, *this, batch, options);
  Inputs inputs = make_inputs(tape, batch), decoder;
  if (options.input_ids) inputs.input_ids = options.input_ids;
  if (batch.decoder.size() > 0) {
    if (batch.decoder.size() != batch.size())
      fail("a batch of {} sequences has {} for the decoder", batch.size(), batch.decoder.size());
    decoder = make_inputs(tape, batch.decoder, batch);
    inputs.decoder = &decoder;
  }
  return run(tape, *this, batch, inputs, head->rows(tape, batch), options);
}

}  // namespace graft::models
