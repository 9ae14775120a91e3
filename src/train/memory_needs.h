// Plans the memory of a step before it is allocated: the needs, the budget of the process, and the largest
// batch that fits.
#pragma once
#include <cstdint>
#include <string>

#include "base/memory.h"
#include "data/batch.h"
#include "engine/arena.h"
#include "models/state.h"
#include "tasks/task.h"

namespace graft::train {

// Bytes beside the model's weights, which are loaded.
struct MemoryNeeds {
  uint64_t gradients = 0, moments = 0;  // of training; addresses for them are reserved already
  uint64_t packed_weights = 0;          // bf16
  uint64_t temporary = 0;               // of kernels and threads
  uint64_t libraries = 0;               // generated code, stacks of threads
  uint64_t stacks = 0;                  // addresses only
  engine::ArenaSize arena;              // activations and their gradients

  uint64_t total() const {
    return gradients + moments + packed_weights + temporary + libraries + arena.total();
  }
  uint64_t new_addresses() const { return packed_weights + temporary + libraries + stacks + arena.total(); }
  // "gradients 12.0 MB, AdamW's moments 24.0 MB, ..."
  std::string text() const;
  // The larger of each.
  void include(const MemoryNeeds& other);
};

// The needs of a pass over `batch`, by a dry run; `record` includes the backward pass. Excludes gradients and
// moments.
MemoryNeeds plan_pass(const models::State& state, const tasks::Task* task, const data::RaggedBatch& batch,
                      bool record);
// Gradients and the moments of AdamW. Of tables that are only looked up, rows that occur in no text get no
// moments: `rows_read` counts those that do, -1 = all.
MemoryNeeds plan_training(const models::State& state, int64_t rows_read = -1);

// The memory limits of the process before the first pass. Needs are compared with these, because later usage
// already contains a part of them.
class MemoryBudget {
 public:
  explicit MemoryBudget(std::vector<MemoryLimit> limits = memory_limits()) : limits_(std::move(limits)) {}
  // The tightest limit that `needs` exceeds; null = none.
  const MemoryLimit* broken_by(const MemoryNeeds& needs) const;
  // Throws the Error for a batch that does not fit: the numbers, and the largest batch or length that does.
  // `extra` is needed beside the pass.
  void check(const models::State& state, const tasks::Task* task, const data::RaggedBatch& batch, bool record,
             const MemoryNeeds& needs, const MemoryNeeds& extra) const;

 private:
  std::vector<MemoryLimit> limits_;
};

}  // namespace graft::train
