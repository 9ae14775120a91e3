// The micro-batches of one optimizer step on this rank.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "data/batch.h"
#include "engine/collective.h"
#include "tasks/task.h"

namespace graft::train {

class StepBatches {
 public:
  // The examples of each batch, numbered through; of those this rank takes its share, which may be empty: one
  // of equal shares, or with `max_tokens` the batch of at most so many tokens that the sampler formed for it.
  // Reuses the memory of the last step.
  void fill(const tasks::Features& features, const std::vector<std::vector<int64_t>>& examples, int64_t epoch,
            const engine::Collective& collective = engine::single_process(), int64_t max_tokens = 0);

  size_t size() const { return size_; }
  const data::RaggedBatch* begin() const { return batches_.data(); }
  const data::RaggedBatch* end() const { return batches_.data() + size_; }
  void set_step_labels(double labels);
  const data::RaggedBatch& last() const { return batches_[size_ - 1]; }
  int64_t tokens() const;                         // of this rank
  int64_t input_tokens() const;                   // without those of a decoder
  int64_t examples() const { return examples_; }  // of all ranks

 private:
  std::vector<data::RaggedBatch> batches_;
  size_t size_ = 0;
  int64_t examples_ = 0;
};

// What all ranks together have in a step.
struct StepTotals {
  double terms = 1;                      // of the loss
  int64_t tokens = 0, input_tokens = 0;  // the second without those of a decoder
};
// Also tells each batch how many labels the step has (RaggedBatch::step_labels).
StepTotals total_of(const tasks::Task& task, StepBatches& batches,
                    engine::Collective& collective = engine::single_process());

}  // namespace graft::train
