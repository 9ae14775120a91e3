// Masked language modelling (Devlin et al. 2019).
#pragma once
#include "data/mask.h"
#include "data/text_blocks.h"
#include "tasks/task_table.h"

namespace graft::tasks {

class MaskedLm : public Task {
 public:
  double loss_terms(const data::RaggedBatch& batch) const override {
    return static_cast<double>(batch.labels.size());
  }
  engine::Var loss(engine::Tape& tape, engine::Var logits, const data::RaggedBatch& batch, double denominator,
                   double* total = nullptr) const override;
  // accuracy over masked tokens; NaN without one.
  std::unique_ptr<Metrics> metrics() const override;
  MetricValues metrics_of_loss(double loss) const override;  // perplexity
  const char* term_name() const override { return "masked token"; }

 protected:
  LabelOptions label_options() const override { return LabelOptions::tokens; }
};

// Sequences that are masked differently in every epoch.
class MaskedFeatures : public Features {
 public:
  // `token_type_ids`: empty, or parallel to the ids of `tokens`.
  MaskedFeatures(data::TokenStore tokens, data::MlmMasker masker, std::vector<int32_t> token_type_ids = {})
      : tokens_(std::move(tokens)), masker_(std::move(masker)), token_type_ids_(std::move(token_type_ids)) {}

  int64_t size() const override { return tokens_.size(); }
  int32_t length(int64_t i) const override { return tokens_.length(i); }

 protected:
  void append_sequences(data::RaggedBatch& batch, int64_t i, int64_t index, int64_t epoch) const override;

 private:
  data::TokenStore tokens_;
  data::MlmMasker masker_;
  std::vector<int32_t> token_type_ids_;
};

// Random replacements are drawn from ids that have a row in the embedding. `only_mask_token`: there are none.
data::MlmMasker mlm_masker(const Model& model, const Tokenizer& tokenizer, const FeatureSettings& settings,
                           bool only_mask_token = false);

const TaskEntry& masked_lm_task();

}  // namespace graft::tasks
