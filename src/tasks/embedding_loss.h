// Losses of sentence embeddings, with the names, formulas and defaults of sentence-transformers 6.2. The
// examples of a batch are tuples of texts: two that are alike, and texts that are not, or a score.
#pragma once
#include <string>

#include "data/batch.h"
#include "engine/ops.h"

namespace graft::tasks {

enum class EmbeddingLossKind : uint8_t {
  multiple_negatives,            // MultipleNegativesRankingLoss: cross entropy over the batch's texts
  multiple_negatives_symmetric,  // in both directions, averaged
  cosent,                        // log(1 + sum exp(scale (cos_j - cos_i))) over pairs with score i > score j
  cosine_similarity,             // squared error of the cosine
  triplet,                       // max(0, d(anchor, positive) - d(anchor, negative) + margin)
};

struct EmbeddingLossOptions {
  EmbeddingLossKind kind = EmbeddingLossKind::multiple_negatives;
  double scale = 20;
  double triplet_margin = 5;
  bool cosine_distance = false;  // of a triplet; else the Euclidean one

  bool reads_scores() const {
    return kind == EmbeddingLossKind::cosent || kind == EmbeddingLossKind::cosine_similarity;
  }
  bool has_batch_negatives() const {
    return kind == EmbeddingLossKind::multiple_negatives ||
           kind == EmbeddingLossKind::multiple_negatives_symmetric;
  }
};

// A name of the reference, with or without "Loss" at its end. Throws UsageError with the nearest one.
EmbeddingLossKind parse_embedding_loss(const std::string& name);
const char* embedding_loss_name(EmbeddingLossKind kind);

// Terms of the loss: examples; for CoSENT, which is one number, 1. 0: these examples are not what it reads.
double embedding_loss_terms(const data::RaggedBatch& batch, const EmbeddingLossOptions& options);
// `embeddings`: one for each sequence of the batch. As Task::loss.
engine::Var embedding_loss(engine::Tape& tape, engine::Var embeddings, const data::RaggedBatch& batch,
                           const EmbeddingLossOptions& options, double denominator, double* total);

}  // namespace graft::tasks
