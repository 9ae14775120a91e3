// The processes of a data-parallel run, as one of them ("rank") sees them. A backend (MPI, NCCL) is a class
// of its own; one process needs none.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "engine/parameters.h"

namespace graft::engine {

// Every rank calls the same functions in the same order. A rank that fails must end the others, which would
// wait for it.
class Collective {
 public:
  virtual ~Collective() = default;
  virtual int rank() const = 0;  // 0 to size() - 1; rank 0 writes files
  virtual int size() const = 0;
  // Sums over the ranks, in place, added in the order of ranks: the same bits on each. Floats are memory of
  // the device, all others of the host.
  virtual void all_reduce(float* x, int64_t n) = 0;
  virtual void all_reduce(double* x, int64_t n) = 0;
  // What each rank gives, in the order of ranks; lengths may differ.
  virtual std::vector<std::vector<std::byte>> all_gather(std::span<const std::byte> mine) = 0;
  // The floats of rank `root`, memory of the device, for every rank.
  virtual void broadcast(float* x, int64_t n, int root) = 0;
  virtual void barrier() = 0;
};

// Rank 0 of 1; does nothing.
Collective& single_process();

// Items [first, second) of n that a rank takes: consecutive, sizes that differ by one at most.
std::pair<int64_t, int64_t> share_of(int64_t n, const Collective& collective);

// Sums the gradients of all ranks. Rows of a row-sparse gradient are summed by id, and the ids ascend.
void sum_gradients(ParameterStore& parameters, Collective& collective);
// Gives every rank the values of rank 0.
void broadcast_values(ParameterStore& parameters, Collective& collective);

}  // namespace graft::engine
