#include "generate/pass_memory.h"

#include <algorithm>

#include "base/error.h"

namespace graft::generate {

using engine::Tape;

PassMemory::PassMemory(models::State& state, std::vector<MemoryLimit> limits)
    : state_(state), arena_(engine::ArenaSize{}, state.parameters.device()), limits_(std::move(limits)) {}

PassMemory::PassMemory(models::State& state, const PassMemory& other) : PassMemory(state, other.limits_) {
  needs_.cache = other.needs_.cache;
}

void PassMemory::expect_cache(uint64_t bytes) {
  needs_.cache += bytes;
  check();
}

void PassMemory::plan(int64_t rows, int64_t sequences, const Pass& pass) {
  if (rows <= rows_ && sequences <= sequences_) return;
  needs_.include(engine::plan_needs(state_.parameters, {.bf16 = state_.bf16},
                                    [&](Tape& tape) { tape.on_host(pass(tape)->data); }));
  check();
  arena_.reserve(needs_.arena);
  rows_ = std::max(rows, rows_);
  sequences_ = std::max(sequences, sequences_);
}

engine::Tensor PassMemory::run(int64_t rows, int64_t sequences, const Pass& pass, bool by_row) {
  plan(rows, sequences, pass);
  arena_.reset();
  Tape tape(arena_, state_.parameters, {.bf16 = state_.bf16, .by_row = by_row});
  return tape.on_host(pass(tape)->data);
}

void PassMemory::check() const {
  const MemoryLimit* limit = engine::exceeded_limit(limits_, needs_);
  if (!limit) return;
  fail_with(
      "generate fewer texts at once (a smaller batch, fewer beams or sequences), shorter ones (a smaller "
      "max_new_tokens), or give the process more memory",
      "the generation needs {} beside the model, and of {} ({}) {} are left: {}",
      format_bytes(needs_.under(*limit)), limit->name, format_bytes(limit->limit),
      format_bytes(limit->left()), needs_.text());
}

}  // namespace graft::generate
