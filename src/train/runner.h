// One forward pass of a model with a task, and the memory it needs: what training, evaluation and prediction
// share.
#pragma once
#include <cstdint>

#include "data/batch.h"
#include "engine/tape.h"
#include "models/state.h"
#include "tasks/task.h"

namespace graft::train {

// Plans and provides the memory of passes over ragged batches: a dry run of every batch that is larger than
// all before, then real memory at once, so that the pass itself meets no page fault.
class StepMemory {
 public:
  StepMemory() = default;
  engine::Arena& arena() { return arena_; }
  // True when memory grew for this batch.
  bool prepare(const models::State& state, const tasks::Task* task, const data::RaggedBatch& batch,
               bool record);
  // The plan alone: bytes() afterwards says what the batch would need.
  void plan_only(const models::State& state, const tasks::Task* task, const data::RaggedBatch& batch);
  size_t bytes() const { return bytes_; }

 private:
  void dry_run(const models::State& state, const tasks::Task* task, const data::RaggedBatch& batch,
               bool record);
  engine::Arena arena_;
  int64_t rows_ = 0, sequences_ = 0, label_rows_ = 0;
  bool recorded_ = false;
  size_t bytes_ = 0;
};

// Forward and backward of one micro-batch: adds to the gradients, returns its share of the loss.
double accumulate_gradients(models::State& state, const tasks::Task& task, const data::RaggedBatch& batch,
                            double denominator, uint64_t seed, uint64_t step, bool dropout,
                            StepMemory& memory);

// Forward only: adds to the metrics (may be null) and to `total` each term of the loss, in order.
void evaluate_batch(models::State& state, const tasks::Task& task, const data::RaggedBatch& batch,
                    tasks::Metrics* metrics, double& total, StepMemory& memory);

}  // namespace graft::train
