// The memory that kernels take beside the arena, collected by a dry run.
#pragma once
#include <cstdint>
#include <set>
#include <tuple>

#include "engine/kernels.h"

namespace graft::engine {

// During its lifetime, dry runs of this thread (plan_kernels) add to it.
class PlanNeeds {
 public:
  PlanNeeds();
  ~PlanNeeds();
  PlanNeeds(const PlanNeeds&) = delete;
  PlanNeeds& operator=(const PlanNeeds&) = delete;

  // Packed weights, which are kept.
  int64_t packed_weights = 0;
  // Temporary memory of the calling thread: panels and packed x of a weight gradient, partial sums. The
  // largest use of each counts, because the thread keeps it.
  int64_t panels = 0, packed_x = 0, partial_sums = 0, widened = 0;
  // Per thread: tiles, and keys and values of one head.
  int64_t tile = 0, head = 0;

  int64_t temporary(int threads) const {
    return panels + packed_x + partial_sums + widened + threads * (tile + head);
  }

  std::set<std::tuple<const Parameter*, int, bool>> forms;  // counted in packed_weights
};

}  // namespace graft::engine
