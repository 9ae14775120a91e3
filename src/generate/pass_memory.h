// The memory of a decoder: its forward passes, and the keys and values that it keeps.
#pragma once
#include <cstdint>
#include <functional>
#include <vector>

#include "engine/memory_needs.h"
#include "engine/tape.h"
#include "models/state.h"

namespace graft::generate {

// Runs forward passes in memory that is planned by a dry run of each pass that is larger than all before, and
// refuses those that do not fit the memory of the process.
class PassMemory {
 public:
  using Pass = std::function<engine::Var(engine::Tape&)>;

  // `state` outlives this. `limits` are those of the process before the first pass.
  explicit PassMemory(models::State& state, std::vector<MemoryLimit> limits = memory_limits());
  // For another kind of pass, beside the cache of `other`.
  PassMemory(models::State& state, const PassMemory& other);
  // Announces keys and values, before they are allocated. Error where they do not fit.
  void expect_cache(uint64_t bytes);
  // Plans a pass, which may be larger than all that run: kernels compute nothing. Error where it does not
  // fit.
  void plan(int64_t rows, int64_t sequences, const Pass& pass);
  // The result of the pass on the host, valid until the next one. Its size grows with `rows` and `sequences`.
  // `by_row` as in TapeOptions.
  engine::Tensor run(int64_t rows, int64_t sequences, const Pass& pass, bool by_row = false);

 private:
  void check() const;

  models::State& state_;
  engine::Arena arena_;
  std::vector<MemoryLimit> limits_;
  engine::MemoryNeeds needs_;
  int64_t rows_ = 0, sequences_ = 0;
};

}  // namespace graft::generate
