#include "train/step_batches.h"

#include <algorithm>

namespace graft::train {

void StepBatches::fill(const tasks::Features& features, const std::vector<std::vector<int64_t>>& examples,
                       int64_t epoch) {
  if (batches_.size() < examples.size()) batches_.resize(examples.size());
  size_ = examples.size();
  examples_ = 0;
  for (size_t b = 0; b < size_; ++b) {
    batches_[b].clear();
    for (const int64_t i : examples[b]) features.append(batches_[b], i, examples_++, epoch);
  }
}

int64_t StepBatches::tokens() const {
  int64_t n = 0;
  for (const data::RaggedBatch& batch : *this) n += batch.rows();
  return n;
}

double loss_terms(const tasks::Task& task, const StepBatches& batches) {
  double terms = 0;
  for (const data::RaggedBatch& batch : batches) terms += task.loss_terms(batch);
  return std::max(terms, 1.0);  // a step without a term has loss 0, not 0/0
}

}  // namespace graft::train
