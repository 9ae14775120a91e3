// Sentence embeddings: the model learns from tuples of texts that like texts have like embeddings.
#pragma once
#include <vector>

#include "graft/dataset.h"
#include "graft/tokenizer.h"
#include "tasks/embedding_loss.h"
#include "tasks/task_table.h"

namespace graft::tasks {

class SentenceEmbedding : public Task {
 public:
  // `scored`: the evaluation has scores.
  SentenceEmbedding(EmbeddingLossOptions options, bool scored) : options_(options), scored_(scored) {}

  double loss_terms(const data::RaggedBatch& batch) const override {
    return embedding_loss_terms(batch, options_);
  }
  engine::Var loss(engine::Tape& tape, engine::Var embeddings, const data::RaggedBatch& batch,
                   double denominator, double* total = nullptr) const override {
    return embedding_loss(tape, embeddings, batch, options_, denominator, total);
  }
  bool couples_examples() const override {
    return options_.has_batch_negatives() || options_.kind == EmbeddingLossKind::cosent;
  }
  std::unique_ptr<Metrics> metrics() const override;
  PrimaryMetric primary_metric() const override { return {scored_ ? "spearman" : "mrr@10", true}; }
  const char* term_name() const override {
    return options_.reads_scores() ? "pair with a score" : "tuple that the loss reads";
  }

 private:
  EmbeddingLossOptions options_;
  bool scored_;
};

// Each text of a tuple is a sequence.
class TupleFeatures : public Features {
 public:
  // Throws Error with file and line for a text without tokens and for an id without a row in the embedding.
  TupleFeatures(const Dataset& dataset, const Model& model, const Tokenizer& tokenizer,
                int32_t max_seq_length);

  int64_t size() const override { return static_cast<int64_t>(offsets_.size() - 1) / texts_; }
  int32_t length(int64_t i) const override {
    return static_cast<int32_t>(offset(i * texts_ + texts_) - offset(i * texts_));
  }
  int64_t num_truncated() const { return truncated_; }
  int64_t num_texts() const { return static_cast<int64_t>(offsets_.size()) - 1; }

 protected:
  void append_sequences(data::RaggedBatch& batch, int64_t i, int64_t index, int64_t epoch) const override;

 private:
  int64_t offset(int64_t sequence) const { return offsets_[static_cast<size_t>(sequence)]; }
  void add(const Encoding& encoding);
  int64_t texts_;  // of an example
  std::vector<int32_t> ids_, types_;
  std::vector<int64_t> offsets_{0};  // [examples * texts_ + 1]
  std::vector<float> scores_;
  int64_t truncated_ = 0;
};

const TaskEntry& sentence_embedding_task();

}  // namespace graft::tasks
