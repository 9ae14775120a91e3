// Time of every kernel of the op table, for `--profile`.
#pragma once
#include <cstdint>
#include <vector>

namespace graft::engine {

// Totals of one operation. `flops` counts matrix products and attention (2 per multiply-add, of
// real rows; attention backward as twice its forward); `bytes` counts every operand once, read or written.
struct OperationProfile {
  const char* name;
  int64_t calls;
  double seconds;  // of the wall: calls from inside a parallel loop count by their share of its threads
  double flops, bytes;
};

// While on, cpu_kernels() returns a table that records these totals, which start at zero. While off, it
// returns the untimed table at no cost. Call before tapes and optimizers are created, because they keep their
// table.
void set_profiling(bool on);

// The sums since profiling was switched on: operations that ran, longest first.
std::vector<OperationProfile> profile();

}  // namespace graft::engine
