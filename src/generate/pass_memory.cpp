#include "generate/pass_memory.h"

#include <algorithm>

namespace graft::generate {

using engine::Tape;

PassMemory::PassMemory(models::State& state)
    : state_(state), arena_(engine::ArenaSize{}, state.parameters.device()) {}

engine::Tensor PassMemory::run(int64_t rows, int64_t sequences, const Pass& pass, bool by_row) {
  if (rows > rows_ || sequences > sequences_) {
    plan(pass);
    rows_ = std::max(rows, rows_);
    sequences_ = std::max(sequences, sequences_);
  }
  arena_.reset();
  Tape tape(arena_, state_.parameters, {.bf16 = state_.bf16, .by_row = by_row});
  return tape.on_host(pass(tape)->data);
}

void PassMemory::plan(const Pass& pass) {
  const engine::Device& device = state_.parameters.device();
  engine::Arena counting{engine::Arena::Counting(), device};
  Tape tape(device.plan_kernels(), counting, state_.parameters, {.bf16 = state_.bf16});
  tape.on_host(pass(tape)->data);
  const engine::ArenaSize needed = counting.peaks(), reserved = arena_.reserved();
  arena_.reserve({std::max(needed.stack, reserved.stack), std::max(needed.heap, reserved.heap)});
}

}  // namespace graft::generate
