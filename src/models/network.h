// The interface of an architecture: an encoder that turns a ragged batch into hidden states, and a head that
// turns some of their rows into logits.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "data/batch.h"
#include "engine/ops.h"
#include "models/invertible.h"

namespace graft::models {

// Rows of a batch, ascending; `rows` null = all T rows. The array belongs to the batch or the tape.
struct RowSelection {
  const int32_t* rows = nullptr;
  int64_t n = 0;              // length of `rows`
  bool one_row_each = false;  // one row per sequence: few rows, whose products stay in fp32 in bf16 mode
};

// The selections that heads use, of the rows of batch.outputs(). A sequence has at least one row.
RowSelection all_rows(const data::RaggedBatch& batch);
RowSelection first_rows(const data::RaggedBatch& batch);
RowSelection last_rows(engine::Tape& tape, const data::RaggedBatch& batch);
RowSelection label_rows(const data::RaggedBatch& batch);  // those of batch.label_rows

// Sequences laid out for one forward pass; arrays live in the batch or on the tape.
struct Inputs {
  engine::Rows rows;                              // all T rows
  const int32_t* input_ids = nullptr;             // [T]
  const int32_t* token_type_ids = nullptr;        // [T]
  int64_t max_position = 0;                       // the largest of rows.position
  bool has_virtual_tokens = false;                // before each sequence
  const InvertibleAdapter* invertible = nullptr;  // of the embeddings' output; null: none
  const Inputs* decoder = nullptr;                // an encoder-decoder's second stream, if the batch has one
  // Filled with every layer's output when set: of the rows that a head may read, and of the encoder below
  // them.
  std::vector<engine::Var>*hidden_states = nullptr, *encoder_hidden_states = nullptr;
  engine::Var* last_layer = nullptr;  // set to Forward::last_layer
};

// Throws Error for a sequence without tokens. `sequences`: one of the batch's streams.
Inputs make_inputs(engine::Tape& tape, const data::Sequences& sequences, const data::RaggedBatch& batch);
// The first stream of the batch.
Inputs make_inputs(engine::Tape& tape, const data::RaggedBatch& batch);

class CausalDecoder;
struct PostNormLayer;

class Encoder {
 public:
  virtual ~Encoder() = default;
  // Hidden states of the selected rows, [n, hidden_size]. The last layer computes these rows only. An
  // encoder-decoder returns those of its decoder.
  virtual engine::Var encode(engine::Tape& tape, const Inputs& inputs, const RowSelection& rows) const = 0;
  // Tokens a sequence may have, 0 = no limit.
  virtual int64_t max_positions() const = 0;
  // The embedding that input_ids index.
  virtual engine::Parameter* word_embeddings() const = 0;
  // The same with the other tables, where virtual tokens may precede a sequence (models/virtual_tokens.h);
  // null otherwise.
  virtual engine::Embeddings* embeddings() { return nullptr; }
  // The same as a decoder (models/decoder.h); null if it does not generate.
  virtual const CausalDecoder* decoder() const { return nullptr; }
  // Its layers, where they may have bottleneck adapters (models/bottleneck.h); null otherwise.
  virtual std::vector<PostNormLayer>* post_norm_layers() { return nullptr; }
  // Where the keys and values of virtual tokens may be, [number, layers * 2 * width]: those of each layer
  // side by side (models/virtual_tokens.h); null: the architecture has no place for them.
  virtual engine::Parameter** prefix() { return nullptr; }
};

class Head {
 public:
  virtual ~Head() = default;
  // The rows that the head reads.
  virtual RowSelection rows(engine::Tape& tape, const data::RaggedBatch& batch) const = 0;
  // hidden [n,H] of these rows -> logits [n, num_labels or vocabulary].
  virtual engine::Var logits(engine::Tape& tape, engine::Var hidden, const engine::Rows& rows) const = 0;
  // The layer, where the head is one linear layer and nothing else; null otherwise.
  virtual const engine::Linear* only_layer() const { return nullptr; }
  // Where it keeps the adapter whose inverse precedes its decoder (masked-lm); null for other heads.
  virtual const InvertibleAdapter** inverse() { return nullptr; }
  // The reference's pooler_output; null if the architecture has none.
  virtual engine::Var pooled(engine::Tape& /*tape*/, engine::Var /*hidden*/) const { return nullptr; }
};

// What a forward pass computes.
struct Forward {
  engine::Var logits = nullptr;  // [n, num_labels or vocabulary]
  engine::Var hidden = nullptr;  // [n, hidden_size] of the last layer
  engine::Rows rows;             // the n rows that the head reads
  // The embeddings' output and that of each layer, [T, hidden_size], the last one [n, hidden_size]; filled on
  // request, without the rows of virtual tokens. Of an encoder-decoder those of the decoder;
  // encoder_hidden_states are empty otherwise.
  std::vector<engine::Var> hidden_states, encoder_hidden_states;
  // The last layer's output before the final norm, where release 4 of the reference gives that as the last of
  // the hidden states (ModernBERT); null otherwise.
  engine::Var last_layer = nullptr;
};

struct ForwardOptions {
  bool hidden_states = false;
  bool logits = true;                  // false: hidden states only
  bool every_row = false;              // the last layer computes all T rows; the head still reads its own
  const int32_t* input_ids = nullptr;  // [T] on the tape: read in place of the batch's; null: the batch's own
};

// Hidden states that were computed before, in place of the encoder.
class HiddenSource {
 public:
  virtual ~HiddenSource() = default;
  // Those of the rows that the head reads of the batch's examples, [n, hidden_size], a constant.
  virtual engine::Var rows(engine::Tape& tape, const data::RaggedBatch& batch) const = 0;
};

struct Network {
  std::unique_ptr<Encoder> encoder;
  std::unique_ptr<Head> head;
  const HiddenSource* cached = nullptr;             // set: read instead of running the encoder
  std::unique_ptr<InvertibleAdapter> invertible{};  // of a language adapter; null: none

  // How many virtual tokens precede each sequence.
  int64_t num_virtual_tokens() const {
    if (engine::Parameter** prefix = encoder->prefix(); prefix && *prefix) return (*prefix)->rows();
    const engine::Embeddings* e = encoder->embeddings();
    return e && e->prompt ? e->prompt->rows() : 0;
  }

  // The encoder, pruned to the rows that the head reads, and the head.
  Forward forward(engine::Tape& tape, const data::RaggedBatch& batch,
                  const ForwardOptions& options = {}) const;
};

}  // namespace graft::models
