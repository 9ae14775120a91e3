// The micro-batches of one optimizer step.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "data/batch.h"
#include "tasks/task.h"

namespace graft::train {

class StepBatches {
 public:
  // The examples of each batch, numbered through. Reuses the memory of the last step.
  void fill(const tasks::Features& features, const std::vector<std::vector<int64_t>>& examples,
            int64_t epoch);

  size_t size() const { return size_; }
  const data::RaggedBatch* begin() const { return batches_.data(); }
  const data::RaggedBatch* end() const { return batches_.data() + size_; }
  const data::RaggedBatch& last() const { return batches_[size_ - 1]; }
  int64_t tokens() const;
  int64_t examples() const { return examples_; }

 private:
  std::vector<data::RaggedBatch> batches_;
  size_t size_ = 0;
  int64_t examples_ = 0;
};

// Terms of the loss over all batches of a step.
double loss_terms(const tasks::Task& task, const StepBatches& batches);

}  // namespace graft::train
