// Plans the memory of a step before it is allocated: the needs, the budget of the process, and the largest
// batch that fits.
#pragma once
#include <cstdint>
#include <string>

#include "data/batch.h"
#include "engine/memory_needs.h"
#include "graft/trainer.h"
#include "models/state.h"
#include "tasks/task.h"

namespace graft::train {

using engine::MemoryNeeds;

// The needs of a pass over `batch`, by a dry run; `record` includes the backward pass. Excludes gradients and
// moments.
MemoryNeeds plan_pass(const models::State& state, const tasks::Task* task, const data::RaggedBatch& batch,
                      bool record);
// Gradients, the optimizer's state and other copies of the weights; `rows_read` as in state_bytes.
MemoryNeeds plan_training(const models::State& state, int64_t rows_read = -1,
                          const TrainingArguments& arguments = {});

// What decides how many examples a training pass has, for messages.
enum class PassSize : uint8_t { batch_size, mini_batch_size, max_tokens };

// The memory limits of the process before the first pass. Needs are compared with these, because later usage
// already contains a part of them.
class MemoryBudget {
 public:
  explicit MemoryBudget(std::vector<MemoryLimit> limits = memory_limits()) : limits_(std::move(limits)) {}
  // The tightest limit that `needs` exceeds; null = none.
  const MemoryLimit* broken_by(const MemoryNeeds& needs) const {
    return engine::exceeded_limit(limits_, needs);
  }
  // Throws the Error for a batch that does not fit: the numbers, and the largest batch or length that does.
  // `extra` is needed beside the pass.
  void check(const models::State& state, const tasks::Task* task, const data::RaggedBatch& batch, bool record,
             const MemoryNeeds& needs, const MemoryNeeds& extra,
             PassSize decided_by = PassSize::batch_size) const;
  // The largest n whose first n examples of the batch fit, by dry runs; 0 = none.
  int32_t largest_batch(const models::State& state, const tasks::Task* task, const data::RaggedBatch& batch,
                        bool record, const MemoryNeeds& extra) const;

 private:
  std::vector<MemoryLimit> limits_;
};

}  // namespace graft::train
