// The memory of a decoder's forward passes.
#pragma once
#include <cstdint>
#include <functional>

#include "engine/tape.h"
#include "models/state.h"

namespace graft::generate {

// Runs forward passes in memory that is planned by a dry run of each pass that is larger than all before.
class PassMemory {
 public:
  using Pass = std::function<engine::Var(engine::Tape&)>;

  // `state` outlives this.
  explicit PassMemory(models::State& state);
  // The result of the pass on the host, valid until the next one. Its size grows with `rows` and `sequences`.
  // `by_row` as in TapeOptions.
  engine::Tensor run(int64_t rows, int64_t sequences, const Pass& pass, bool by_row = false);

 private:
  void plan(const Pass& pass);

  models::State& state_;
  engine::Arena arena_;
  int64_t rows_ = 0, sequences_ = 0;
};

}  // namespace graft::generate
