// Replaced-token detection (Clark et al. 2020, "ELECTRA: Pre-training Text Encoders as Discriminators Rather
// Than Generators"): a generator fills masked tokens, and the model tells for each token whether it is that
// of the text.
#pragma once
#include <cstdint>
#include <vector>

#include "data/text_blocks.h"
#include "models/generator.h"
#include "tasks/task_table.h"

namespace graft::tasks {

// The loss of a training step: that of the generator's masked tokens, and so many times the discriminator's.
inline constexpr float kDiscriminatorWeight = 50;

// The binary cross entropy of every token, special ones included, as in the reference (ElectraForPreTraining)
// and in the paper. Labels: 0 for a token of the text, 1 for another one.
class ReplacedTokenDetection : public Task {
 public:
  // `generator`, which outlives the task: batches of training have masked tokens, which it fills by draws of
  // `seed` and which it learns, too. Null: they have a label for each row, as those of an evaluation.
  explicit ReplacedTokenDetection(const models::Generator* generator = nullptr, uint64_t seed = 0)
      : generator_(generator), seed_(seed) {}

  double loss_terms(const data::RaggedBatch& batch) const override {
    return static_cast<double>(batch.rows());
  }
  engine::Var loss(engine::Tape& tape, engine::Var logits, const data::RaggedBatch& batch, double denominator,
                   double* total = nullptr) const override;
  LossPass training_pass(engine::Tape& tape, const models::Network& network, const data::RaggedBatch& batch,
                         double denominator) const override;
  // Of tokens: accuracy, and f1 of those that were replaced; NaN without a token.
  std::unique_ptr<Metrics> metrics() const override;
  PrimaryMetric primary_metric() const override { return {"f1", true}; }
  const char* term_name() const override { return "token"; }

 private:
  const models::Generator* generator_;
  uint64_t seed_;
};

// Sequences in which some tokens were replaced once and for all, with a label for each token.
class ReplacedFeatures : public Features {
 public:
  int64_t size() const override { return tokens_.size(); }
  int32_t length(int64_t i) const override { return tokens_.length(i); }
  // The sequences of a batch, with the tokens `ids` in place of its own.
  void add(const data::RaggedBatch& original, const std::vector<int32_t>& ids);

 protected:
  void append_sequences(data::RaggedBatch& batch, int64_t i, int64_t index, int64_t epoch) const override;

 private:
  data::TokenStore tokens_;
  std::vector<uint8_t> replaced_;  // parallel to the ids
};

const TaskEntry& replaced_tokens_task();

}  // namespace graft::tasks
