// Metrics of sentence embeddings: correlation with scores, or retrieval of each anchor's positive.
#pragma once
#include <string>
#include <unordered_map>
#include <vector>

#include "tasks/task.h"

namespace graft::tasks {

// Pairs with a score: Pearson and Spearman correlation of the cosine with it (EmbeddingSimilarityEvaluator of
// sentence-transformers). Other tuples: each anchor searches all positives and negatives of the set by
// cosine; equal texts count once, and all positives of an anchor are relevant
// (InformationRetrievalEvaluator): accuracy@k = one of them is among the first k, recall@k = their share,
// mrr@10 = 1 / the place of the first. With negatives also `triplet_accuracy`: the share of (anchor,
// positive, negative) that are ordered right.
class EmbeddingMetrics : public Metrics {
 public:
  void add(const data::RaggedBatch& batch, engine::Tensor embeddings) override;
  Partial partial() const override;
  void merge(const Partial& part) override;
  MetricValues values() const override;
  std::vector<std::string> names(const data::RaggedBatch& example) const override;

 private:
  struct Example {
    std::vector<int32_t> texts;  // anchor, positive, negatives: indices into texts_
    double score = 0;
  };
  int32_t index_of(const std::vector<int32_t>& ids, const float* embedding);
  double cosine(int32_t a, int32_t b) const;
  MetricValues correlations() const;
  MetricValues retrieval() const;

  std::vector<std::vector<int32_t>> ids_;           // of each distinct text
  std::unordered_map<std::string, int32_t> known_;  // by its ids
  std::vector<float> embeddings_;                   // [texts, width_], of length 1
  size_t width_ = 0;
  std::vector<Example> examples_;
  bool scored_ = false;
};

}  // namespace graft::tasks
