// Where a step spends its time: a clock around every kernel of the op table, for `--profile`.
#pragma once
#include <cstdint>
#include <vector>

namespace graft::engine {

// What one operation of the table did. `flops` counts matrix products and attention (2 per multiply-add, of
// real rows; attention backward as twice its forward); `bytes` counts every operand once, read or written.
struct OperationProfile {
  const char* name;
  int64_t calls;
  double seconds;  // of the wall: calls from inside a parallel loop count by their share of its threads
  double flops, bytes;
};

// While on, cpu_kernels() is a table that keeps these sums, which start from zero at each switching on; while
// off it is the untimed one, at no cost. Switch before tapes and optimizers are made: they keep the table
// they got.
void set_profiling(bool on);

// The sums since profiling was switched on: operations that ran, longest first.
std::vector<OperationProfile> profile();

}  // namespace graft::engine
