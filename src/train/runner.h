// One forward pass of a model with a task, and its memory. Shared by training, evaluation and prediction.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "data/batch.h"
#include "engine/finite.h"
#include "engine/tape.h"
#include "models/state.h"
#include "tasks/task.h"
#include "train/memory_needs.h"

namespace graft::train {

// Plans and provides the memory of passes over ragged batches. For each batch that is larger than all before,
// it does a dry run, checks the budget of the process and populates the memory, so that the pass has no page
// faults.
class StepMemory {
 public:
  explicit StepMemory(const engine::Device& device = engine::default_device())
      : device_(device), arena_(engine::ArenaSize{}, device) {}
  engine::Arena& arena() { return arena_; }
  // Includes gradients and the optimizer's state in the plan. Call before the first batch. `rows_read` as in
  // plan_training.
  void expect_training(const models::State& state, int64_t rows_read = -1,
                       PassSize decided_by = PassSize::batch_size, const TrainingArguments& arguments = {});
  // The largest n whose first n examples of the batch fit the budget beside what is planned; 0 = none.
  int32_t largest_batch(const models::State& state, const tasks::Task* task, const data::RaggedBatch& batch,
                        bool record);
  // Includes a copy of `bytes` for saves in the background, where it fits. Call after the first batch.
  // `wanted`: throws Error where it does not fit.
  void expect_copy(uint64_t bytes, bool wanted);
  // Returns true if memory grew. Throws Error if the batch does not fit the process's budget; memory is then
  // unchanged. Models may take turns.
  bool prepare(const models::State& state, const tasks::Task* task, const data::RaggedBatch& batch,
               bool record);
  // Bytes of the arena: activations and their gradients.
  size_t bytes() const { return needs_.arena.total(); }
  // The needs of everything planned so far.
  const MemoryNeeds& needs() const { return needs_; }
  // What the process had in use before the first pass: weights, data, program.
  uint64_t in_use() const { return in_use_; }
  // The highest resident memory of the process with all that is planned.
  uint64_t predicted_peak() const { return std::max(former_peak_, in_use_ + needs_.expected()); }

 private:
  void measure();
  const engine::Device& device_;
  engine::Arena arena_;
  MemoryNeeds needs_;
  std::optional<MemoryBudget> budget_;
  PassSize decided_by_ = PassSize::batch_size;
  uint64_t in_use_ = 0, former_peak_ = 0;
  struct Planned {
    std::array<int64_t, 6> largest{};  // sizes of the batches so far: see sizes_of in runner.cpp
    bool recorded = false;
  };
  std::map<const models::State*, Planned> planned_;
};

// Forward and backward of one micro-batch: adds to the gradients, returns its share of the loss. `check`: the
// pass runs with its kernels, which find the first operation that is not finite.
double accumulate_gradients(models::State& state, const tasks::Task& task, const data::RaggedBatch& batch,
                            double denominator, uint64_t seed, uint64_t step, bool dropout,
                            StepMemory& memory, engine::FiniteCheck* check = nullptr);

// Forward only: adds to the metrics (may be null) and to `total` each term of the loss, in order. Error as in
// check_logits.
void evaluate_batch(models::State& state, const tasks::Task& task, const data::RaggedBatch& batch,
                    tasks::Metrics* metrics, double& total, StepMemory& memory);

// The logits of a batch on the host, valid until the next pass with `memory`. Error as in check_logits.
engine::Tensor predict_batch(models::State& state, const data::RaggedBatch& batch, StepMemory& memory);

// Throws an Error where a logit is NaN or infinite, with why_not_finite's answer.
void check_logits(models::State& state, const data::RaggedBatch& batch, engine::Tensor logits,
                  StepMemory& memory);
// The weight that is not finite ("classifier.weight[3] is nan"), else the operation in which finite weights
// overflow, found by a second forward pass; "" if that pass is finite. Overwrites the last pass in `memory`.
std::string why_not_finite(models::State& state, const data::RaggedBatch& batch, StepMemory& memory);
// The same of a training step, in the forward pass or in the backward pass: "linear_backward with ... is the
// first operation whose gradient is not finite". Gradients are clobbered.
std::string why_step_not_finite(models::State& state, const tasks::Task& task, const data::RaggedBatch& batch,
                                double denominator, uint64_t seed, uint64_t step, StepMemory& memory);

}  // namespace graft::train
