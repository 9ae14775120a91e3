// What kernels take beside the arena: collected by a dry run, so that the memory of a step is known before
// it.
#pragma once
#include <cstdint>
#include <set>
#include <tuple>

#include "engine/kernels.h"

namespace graft::engine {

// While one lives, dry runs of this thread (plan_kernels) add to it.
class PlanNeeds {
 public:
  PlanNeeds();
  ~PlanNeeds();
  PlanNeeds(const PlanNeeds&) = delete;
  PlanNeeds& operator=(const PlanNeeds&) = delete;

  // Packed forms of weights, which stay.
  int64_t packed_weights = 0;
  // Temporary memory of the thread that calls: panels and packed x of a weight's gradient, partial sums. The
  // largest use of each counts, since it stays with the thread.
  int64_t panels = 0, packed_x = 0, partial_sums = 0, widened = 0;
  // Of each thread: tiles, and the keys and values of one head.
  int64_t tile = 0, head = 0;

  int64_t temporary(int threads) const {
    return panels + packed_x + partial_sums + widened + threads * (tile + head);
  }

  std::set<std::tuple<const Parameter*, int, bool>> forms;  // counted in packed_weights
};

}  // namespace graft::engine
