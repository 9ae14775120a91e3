// What a search needs of a model: the logits of the next token of several sequences. A causal model and the
// decoder of an encoder-decoder are both used through it.
#pragma once
#include <cstdint>
#include <vector>

#include "engine/tensor.h"

namespace graft::generate {

class Decoder {
 public:
  virtual ~Decoder() = default;
  // Begins with these sequences. Returns host logits [prompts, vocabulary] of the token behind each, valid
  // until the next call.
  virtual engine::Tensor start(const std::vector<std::vector<int32_t>>& prompts) = 0;
  // The new sequence i is the former sequence parents[i] with tokens[i] behind it. A former sequence may have
  // several successors or none.
  virtual engine::Tensor step(const std::vector<int32_t>& parents, const std::vector<int32_t>& tokens) = 0;
};

}  // namespace graft::generate
