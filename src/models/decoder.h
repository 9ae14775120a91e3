// What generation needs of an architecture: a pass over the tokens that continue sequences, with the keys and
// values of the earlier ones in a cache.
#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include "models/network.h"

namespace graft::models {

// Keys and values of every layer, outside the step, and where the tokens of a pass belong in them.
struct KeyValueCache {
  std::vector<engine::Tensor> keys, values;  // one for each layer, [rows, key_width]
  const int64_t* rows = nullptr;             // [T] the row of each new token
  const int64_t* begin = nullptr;            // [B] the row of each sequence's first token
  const int32_t* length = nullptr;           // [B] tokens of each sequence, the new ones included
  bool empty = false;                        // the new tokens are the first ones of their sequences
  int64_t max_length = 0;                    // tokens that a sequence may get
  // Of an encoder-decoder: keys and values of the sources, and where those of each sequence lie.
  std::vector<engine::Tensor> source_keys, source_values;
  const int64_t* source_begin = nullptr;   // [B]
  const int32_t* source_length = nullptr;  // [B]
};

class CausalDecoder {
 public:
  virtual ~CausalDecoder() = default;
  virtual int64_t num_layers() const = 0;
  virtual int64_t key_width() const = 0;
  // Adds the tokens of `inputs`, whose positions count from the beginning of their sequences, to the cache.
  // Returns the hidden state of each sequence's last token, [B, hidden_size].
  virtual engine::Var decode(engine::Tape& tape, const Inputs& inputs, const KeyValueCache& cache) const = 0;
  // Of an encoder-decoder: the token with which its decoder begins. None: the model reads no source.
  virtual std::optional<int32_t> decoder_start_token_id() const { return std::nullopt; }
  // Puts the keys and values of the sources into the cache, row by row. Returns a result of the pass.
  virtual engine::Var read_source(engine::Tape& /*tape*/, const Inputs& /*sources*/,
                                  const KeyValueCache& /*cache*/) const {
    return nullptr;
  }
};

}  // namespace graft::models
