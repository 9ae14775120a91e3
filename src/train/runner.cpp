#include "train/runner.h"

#include <algorithm>

namespace graft::train {

using engine::Tape;
using engine::TapeOptions;
using engine::Var;

bool StepMemory::prepare(const models::State& state, const tasks::Task* task, const data::RaggedBatch& batch,
                         bool record) {
  const int64_t labels = static_cast<int64_t>(batch.label_rows.size());
  if (batch.rows() <= rows_ && batch.size() <= sequences_ && labels <= label_rows_ && (recorded_ || !record))
    return false;
  rows_ = std::max<int64_t>(rows_, batch.rows());
  sequences_ = std::max<int64_t>(sequences_, batch.size());
  label_rows_ = std::max(label_rows_, labels);
  recorded_ |= record;
  dry_run(state, task, batch, record);
  arena_.populate();
  return true;
}

void StepMemory::plan_only(const models::State& state, const tasks::Task* task,
                           const data::RaggedBatch& batch) {
  dry_run(state, task, batch, true);
}

void StepMemory::dry_run(const models::State& state, const tasks::Task* task, const data::RaggedBatch& batch,
                         bool record) {
  TapeOptions options;
  options.training = options.record = record;
  options.bf16 = state.bf16;
  arena_.reset();
  Tape tape(engine::plan_kernels(), arena_, const_cast<engine::ParameterStore&>(state.parameters), options);
  const Var logits = models::forward_logits(tape, state.network, batch);
  if (task) {
    const Var loss = task->loss(tape, logits, batch, 1);
    if (record) tape.backward(loss);
  }
  bytes_ = std::max(bytes_, arena_.peak());
}

double accumulate_gradients(models::State& state, const tasks::Task& task, const data::RaggedBatch& batch,
                            double denominator, uint64_t seed, uint64_t step, bool dropout,
                            StepMemory& memory) {
  memory.arena().reset();
  Tape tape(engine::cpu_kernels(), memory.arena(), state.parameters, {dropout, true, seed, step, state.bf16});
  const Var logits = models::forward_logits(tape, state.network, batch);
  const Var loss = task.loss(tape, logits, batch, denominator);
  const double value = *loss->data.f32();
  tape.backward(loss);
  return value;
}

void evaluate_batch(models::State& state, const tasks::Task& task, const data::RaggedBatch& batch,
                    tasks::Metrics* metrics, double& total, StepMemory& memory) {
  memory.arena().reset();
  Tape tape(engine::cpu_kernels(), memory.arena(), state.parameters, {.bf16 = state.bf16});
  const Var logits = models::forward_logits(tape, state.network, batch);
  if (metrics) metrics->add(batch, logits->data);
  task.loss(tape, logits, batch, 1, &total);
}

}  // namespace graft::train
