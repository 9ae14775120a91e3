#include "train/runner.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <new>

#include "base/error.h"
#include "base/log.h"
#include "engine/finite.h"
#include "models/weights.h"
#include "train/trained_model.h"

namespace graft::train {

using engine::Tape;
using engine::Var;

namespace {

// Addresses for a pass: where ulimit counts them, those that were planned and some for growth out of what no
// plan needs.
engine::ArenaSize with_growth(const MemoryNeeds& needs, const engine::Device& device) {
  const engine::ArenaSize planned = needs.arena;
  if (!device.is_host) return planned;
  const uint64_t left = addresses_left();
  if (left == std::numeric_limits<uint64_t>::max())
    return {std::max<size_t>(planned.stack, physical_memory()),
            std::max<size_t>(planned.heap, physical_memory())};
  const uint64_t spare = left > needs.new_addresses() ? left - needs.new_addresses() : 0;
  const auto grown = [&](size_t n) { return n + std::min<size_t>(n / 8, spare / 4); };
  return {grown(planned.stack), grown(planned.heap)};
}

// f(), where small memory that is not planned (vectors, the tape of oneDNN) may run out.
template <class F>
auto with_memory_error(F f) {
  try {
    return f();
  } catch (const std::bad_alloc&) {
    fail_allocation(0, "the lists of a pass");
  }
}

// What decides the memory of a pass.
std::array<int64_t, 6> sizes_of(const data::RaggedBatch& batch) {
  return {batch.rows(),         batch.size(),          batch.max_len,
          batch.decoder.rows(), batch.decoder.max_len, static_cast<int64_t>(batch.label_rows.size())};
}

Var forward(Tape& tape, const models::State& state, const data::RaggedBatch& batch) {
  return state.network.forward(tape, batch).logits;
}

[[noreturn]] void fail_not_finite(models::State& state, const data::RaggedBatch& batch, StepMemory& memory) {
  const std::string why = why_not_finite(state, batch, memory);
  fail_with(kNotFiniteHint, "{}: the model's output is not a finite number{}{}", state.origin.string(),
            why.empty() ? "" : ": ", why);
}

}  // namespace

void StepMemory::measure() {
  budget_.emplace();
  in_use_ = resident_memory();
  former_peak_ = peak_resident_memory();
}

void StepMemory::expect_training(const models::State& state, int64_t rows_read, PassSize decided_by,
                                 const TrainingArguments& arguments) {
  // Gradients and moments are reserved by now; a second training finds them in use already.
  if (!budget_ || needs_.moments == 0) measure();
  needs_.include(plan_training(state, rows_read, arguments));
  decided_by_ = decided_by;
}

int32_t StepMemory::largest_batch(const models::State& state, const tasks::Task* task,
                                  const data::RaggedBatch& batch, bool record) {
  if (!budget_) measure();
  return budget_->largest_batch(state, task, batch, record, needs_);
}

void StepMemory::expect_copy(uint64_t bytes, bool wanted) {
  MemoryNeeds needs = needs_;
  needs.copies = bytes;
  const MemoryLimit* limit = budget_ ? budget_->broken_by(needs) : nullptr;
  if (!limit) return void(needs_ = needs);
  if (wanted)
    fail_with("--background_save false needs no copy",
              "--background_save true needs a copy of {}, and of {} ({}) {} are left: {}",
              format_bytes(bytes), limit->name, format_bytes(limit->limit), format_bytes(limit->left()),
              needs.text());
  log_info("checkpoints are written between two steps: a copy of {} for the background does not fit",
           format_bytes(bytes));
}

bool StepMemory::prepare(const models::State& state, const tasks::Task* task, const data::RaggedBatch& batch,
                         bool record) {
  const auto sizes = sizes_of(batch);
  Planned& planned = planned_[&state];
  bool fits = planned.recorded || !record;
  for (size_t i = 0; i < sizes.size(); ++i) fits &= sizes[i] <= planned.largest[i];
  if (fits) return false;
  if (!budget_) measure();
  MemoryNeeds needs = plan_pass(state, task, batch, record);
  needs.include(needs_);
  budget_->check(state, task, batch, record, needs, needs_, decided_by_);
  const engine::ArenaSize reserved = arena_.reserved();
  if (needs.arena.stack > reserved.stack || needs.arena.heap > reserved.heap)
    arena_.reserve(with_growth(needs, device_));
  arena_.populate(needs.arena);
  needs_ = needs;
  for (size_t i = 0; i < sizes.size(); ++i) planned.largest[i] = std::max(planned.largest[i], sizes[i]);
  planned.recorded |= record;
  return true;
}

double accumulate_gradients(models::State& state, const tasks::Task& task, const data::RaggedBatch& batch,
                            double denominator, uint64_t seed, uint64_t step, bool dropout,
                            StepMemory& memory, engine::FiniteCheck* check) {
  return with_memory_error([&] {
    memory.arena().reset();
    if (check) check->begin_forward();
    Tape tape(check ? check->kernels() : state.parameters.device().kernels(), memory.arena(),
              state.parameters,
              {.training = dropout,
               .record = true,
               .seed = seed,
               .step = step,
               .bf16 = state.bf16,
               .checkpoints = state.gradient_checkpointing,
               .neftune_noise_alpha = state.neftune_noise_alpha});
    const Var loss = tasks::forward_loss(tape, state.network, task, batch, denominator).loss;
    const double value = tape.scalar(loss);
    if (check) check->begin_backward();
    tape.backward(loss);
    return value;
  });
}

void evaluate_batch(models::State& state, const tasks::Task& task, const data::RaggedBatch& batch,
                    tasks::Metrics* metrics, double& total, StepMemory& memory) {
  with_memory_error([&] {
    memory.arena().reset();
    Tape tape(memory.arena(), state.parameters, {.bf16 = state.bf16, .packed_fp32 = state.packed_fp32});
    const tasks::LossPass pass = tasks::forward_loss(tape, state.network, task, batch, 1, &total);
    if (!pass.logits) {
      if (!std::isfinite(tape.scalar(pass.loss))) fail_not_finite(state, batch, memory);
      if (metrics) metrics->add_counts(pass.right, static_cast<int64_t>(task.loss_terms(batch)));
      return;
    }
    const engine::Tensor logits = tape.on_host(pass.logits->data);
    check_logits(state, batch, logits, memory);
    if (metrics) metrics->add(batch, logits);
  });
}

engine::Tensor predict_batch(models::State& state, const data::RaggedBatch& batch, StepMemory& memory) {
  return with_memory_error([&] {
    memory.arena().reset();
    Tape tape(memory.arena(), state.parameters, {.bf16 = state.bf16, .packed_fp32 = state.packed_fp32});
    const engine::Tensor logits = tape.on_host(forward(tape, state, batch)->data);
    check_logits(state, batch, logits, memory);
    return logits;
  });
}

void check_logits(models::State& state, const data::RaggedBatch& batch, engine::Tensor logits,
                  StepMemory& memory) {
  for (int64_t r = 0; r < logits.rows; ++r) {
    const float* x = logits.row(r);
    if (std::all_of(x, x + logits.cols, [](float v) { return std::isfinite(v); })) continue;
    fail_not_finite(state, batch, memory);
  }
}

std::string why_not_finite(models::State& state, const data::RaggedBatch& batch, StepMemory& memory) {
  if (const std::optional<models::NonFinite> bad = models::first_non_finite(state))
    return fmt::format("{}[{}] is {}", bad->parameter, bad->index, bad->value);
  const engine::FiniteCheck check(state.parameters);
  memory.arena().reset();
  Tape tape(check.kernels(), memory.arena(), state.parameters,
            {.bf16 = state.bf16, .packed_fp32 = state.packed_fp32});
  forward(tape, state, batch);
  if (check.first().empty()) return "";
  return fmt::format("all weights are finite; {} overflows first", check.first());
}

std::string why_step_not_finite(models::State& state, const tasks::Task& task, const data::RaggedBatch& batch,
                                double denominator, uint64_t seed, uint64_t step, StepMemory& memory) {
  if (batch.size() == 0) return "";
  std::string why = why_not_finite(state, batch, memory);
  if (!why.empty()) return why;
  engine::FiniteCheck check(state.parameters);
  state.parameters.clear_grads();
  accumulate_gradients(state, task, batch, denominator, seed, step, true, memory, &check);
  if (check.first().empty()) return "";
  return check.first_in_backward()
             ? fmt::format("all weights and the loss are finite; in the backward pass {} overflows first",
                           check.first())
             : fmt::format("all weights are finite; {} overflows first", check.first());
}

}  // namespace graft::train
