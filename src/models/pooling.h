// Sentence embeddings: the modules of a sentence-transformers folder behind its transformer (Reimers and
// Gurevych 2019): a pooling over the tokens, feed-forward layers, scaling to length 1.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "models/config.h"
#include "models/network.h"

namespace graft::models {

// Each text's embedding, [B, width of the last module].
struct PoolingHead : Head {
  struct Dense {
    engine::Linear layer;
    engine::Activation activation = engine::Activation::none;
  };
  std::vector<hub::Pooling> modes;  // several are concatenated
  std::vector<Dense> dense;
  bool normalize = false;

  RowSelection rows(engine::Tape& tape, const data::RaggedBatch& batch) const override;
  engine::Var logits(engine::Tape& tape, engine::Var hidden, const engine::Rows& rows) const override;
};

// The encoder with the modules of `config`. Throws Error for modules that graft does not compute and for
// sizes that contradict each other.
Network with_pooling(std::unique_ptr<Encoder> encoder, engine::ParameterStore& store,
                     const ModelConfig& config, int64_t hidden_size);
// Marks the pooler of the reference's class, which no embedding reads.
void keep_pooler(const engine::Linear& pooler);

// Scope of the parameters of feed-forward module i; they lie in a file of their own.
std::string dense_scope(size_t i);
// Numbers of an embedding.
int64_t embedding_dimension(const hub::SentenceTransformer& modules, int64_t hidden_size);

}  // namespace graft::models
