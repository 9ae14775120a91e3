// One forward pass of a model with a task, and the memory it needs: what training, evaluation and prediction
// share.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "data/batch.h"
#include "engine/tape.h"
#include "models/state.h"
#include "tasks/task.h"
#include "train/memory_needs.h"

namespace graft::train {

// Plans and provides the memory of passes over ragged batches: a dry run of every batch that is larger than
// all before, a check against the process's budget, then real memory at once, so that the pass itself meets
// no page fault.
class StepMemory {
 public:
  engine::Arena& arena() { return arena_; }
  // Training will take gradients and moments too: call before the first batch. `rows_read` as in
  // plan_training.
  void expect_training(const models::State& state, int64_t rows_read = -1);
  // True when memory grew for this batch. Error where it does not fit into the process's budget; then nothing
  // grew.
  bool prepare(const models::State& state, const tasks::Task* task, const data::RaggedBatch& batch,
               bool record);
  // Of the arena: activations and their gradients.
  size_t bytes() const { return needs_.arena.total(); }
  // Of everything that was planned so far.
  const MemoryNeeds& needs() const { return needs_; }

 private:
  engine::Arena arena_{engine::ArenaSize{}};
  MemoryNeeds needs_;
  std::optional<MemoryBudget> budget_;
  int64_t rows_ = 0, sequences_ = 0, label_rows_ = 0;
  bool recorded_ = false;
};

// Forward and backward of one micro-batch: adds to the gradients, returns its share of the loss.
double accumulate_gradients(models::State& state, const tasks::Task& task, const data::RaggedBatch& batch,
                            double denominator, uint64_t seed, uint64_t step, bool dropout,
                            StepMemory& memory);

// Forward only: adds to the metrics (may be null) and to `total` each term of the loss, in order. Error as in
// check_logits.
void evaluate_batch(models::State& state, const tasks::Task& task, const data::RaggedBatch& batch,
                    tasks::Metrics* metrics, double& total, StepMemory& memory);

// The logits of a batch, valid until the next pass with `memory`. Error as in check_logits.
engine::Tensor predict_batch(models::State& state, const data::RaggedBatch& batch, StepMemory& memory);

// Throws an Error where a logit is NaN or infinite, with why_not_finite's answer.
void check_logits(models::State& state, const data::RaggedBatch& batch, engine::Tensor logits,
                  StepMemory& memory);
// Which weight is not a finite number ("classifier.weight[3] is nan"), or else in which operation finite
// weights overflow, found by a second forward pass; "" where that pass is finite. Overwrites the last pass in
// `memory`.
std::string why_not_finite(models::State& state, const data::RaggedBatch& batch, StepMemory& memory);

}  // namespace graft::train
