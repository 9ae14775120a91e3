// Causal language modelling: each token predicts the next one (Radford et al. 2019; the reference's run_clm).
#pragma once
#include "tasks/language_model.h"

namespace graft::tasks {

class CausalLm : public TokenPrediction {
 public:
  std::unique_ptr<Metrics> metrics() const override { return std::make_unique<TokenAccuracy>(); }
  const char* term_name() const override { return "predicted token"; }
};

// Blocks of ids. A block holds the tokens of several texts; each is a sequence of its own, so that attention,
// positions and predictions do not cross texts. Without TokenStore::documents a block is one sequence.
class CausalFeatures : public Features {
 public:
  explicit CausalFeatures(data::TokenStore tokens) : tokens_(std::move(tokens)) {}

  int64_t size() const override { return tokens_.size(); }
  int32_t length(int64_t i) const override { return tokens_.length(i); }

 protected:
  void append_sequences(data::RaggedBatch& batch, int64_t i, int64_t index, int64_t epoch) const override;

 private:
  data::TokenStore tokens_;
};

// Appends a sequence to the last example, whose tokens predict each other: every row but the last has a
// label.
void append_predicted(data::RaggedBatch& batch, const int32_t* ids, int32_t length, int64_t key);

const TaskEntry& causal_lm_task();

}  // namespace graft::tasks
