// What generation needs of an architecture: a pass over the tokens that continue sequences, with the keys and
// values of the earlier ones in a cache.
#pragma once
#include <cstdint>
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
};

class CausalDecoder {
 public:
  virtual ~CausalDecoder() = default;
  virtual int64_t num_layers() const = 0;
  virtual int64_t key_width() const = 0;
  // Adds the tokens of `inputs`, whose positions count from the beginning of their sequences, to the cache.
  // Returns the hidden state of each sequence's last token, [B, hidden_size].
  virtual engine::Var decode(engine::Tape& tape, const Inputs& inputs, const KeyValueCache& cache) const = 0;
};

}  // namespace graft::models
