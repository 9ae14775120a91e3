// The interface of an architecture: an encoder that turns a ragged batch into hidden states, and a head that
// turns some of their rows into logits.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "data/batch.h"
#include "engine/ops.h"

namespace graft::models {

// A batch laid out for one forward pass; arrays live in the batch or on the tape.
struct Inputs {
  engine::Rows rows;                                  // all T rows
  const int32_t* input_ids = nullptr;                 // [T]
  const int32_t* token_type_ids = nullptr;            // [T]
  std::vector<engine::Var>* hidden_states = nullptr;  // filled with every layer's output when set
  bool one_row_each = false;  // one row per sequence is requested: few rows, computed in fp32
};

Inputs make_inputs(engine::Tape& tape, const data::RaggedBatch& batch);

class Encoder {
 public:
  virtual ~Encoder() = default;
  // Hidden states of the given rows (ascending), [n, hidden_size]. The last layer computes these rows only.
  // `rows` null = all T rows.
  virtual engine::Var encode(engine::Tape& tape, const Inputs& inputs, const int32_t* rows,
                             int64_t n) const = 0;
  // Tokens a sequence may have, 0 = no limit.
  virtual int64_t max_positions() const = 0;
  // The embedding that input_ids index.
  virtual engine::Parameter* word_embeddings() const = 0;
};

// The rows of each sequence that a head reads.
enum class Reads : uint8_t { first_row, label_rows };

class Head {
 public:
  virtual ~Head() = default;
  virtual Reads reads() const = 0;
  // hidden [n,H] of the rows that the head reads -> logits [n, num_labels or vocabulary].
  virtual engine::Var logits(engine::Tape& tape, engine::Var hidden, const engine::Rows& rows) const = 0;
  // The reference's pooler_output; null if the architecture has none.
  virtual engine::Var pooled(engine::Tape& /*tape*/, engine::Var /*hidden*/) const { return nullptr; }
};

struct Network {
  std::unique_ptr<Encoder> encoder;
  std::unique_ptr<Head> head;
};

// Logits of a batch: rows chosen by the head (first rows, or batch.label_rows), encoder pruned to them, head.
engine::Var forward_logits(engine::Tape& tape, const Network& network, const data::RaggedBatch& batch);

}  // namespace graft::models
