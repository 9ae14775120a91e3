// Gradients of a loss that couples all examples of a step, in the memory of a mini-batch (Gao et al. 2021,
// "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup").
#pragma once
#include <atomic>
#include <optional>

#include "engine/collective.h"
#include "graft/trainer.h"
#include "models/state.h"
#include "tasks/task.h"
#include "train/runner.h"
#include "train/step_batches.h"

namespace graft::train {

// Throws UsageError for --gradient_cache with several processes: each would have the outputs of its own
// share.
void check_ranks(const TrainingArguments& arguments, const engine::Collective& ranks);

struct CachedPass {
  double denominator = 1;
  uint64_t seed = 42, step = 0;
};

// The examples of a step in batches of at most `mini_batch_size`.
std::vector<std::vector<int64_t>> mini_batches(const std::vector<std::vector<int64_t>>& step,
                                               int64_t mini_batch_size);

// Adds the gradients of the loss of `whole`, whose examples are those of `batches` in their order, and
// returns the loss: one pass over all batches without gradients gives the head's outputs, the loss gives
// their gradients, and a second pass carries these to the parameters. Equal to one pass over `whole`: dropout
// is keyed by the example. Nothing where `stop` was set on the way.
std::optional<double> cached_gradients(models::State& state, const tasks::Task& task,
                                       const StepBatches& batches, const data::RaggedBatch& whole,
                                       const CachedPass& pass, StepMemory& memory,
                                       const std::atomic<bool>& stop);

}  // namespace graft::train
