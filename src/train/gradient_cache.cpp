#include "train/gradient_cache.h"

#include <algorithm>

#include "base/error.h"
#include "engine/basic_ops.h"

namespace graft::train {

using engine::Tape;
using engine::Tensor;
using engine::Var;

namespace {

// The head's outputs of all batches on the host, and in the end their gradients; [sequences, width].
struct Outputs {
  std::vector<float> values;
  int64_t width = 0;
  int64_t rows() const { return width == 0 ? 0 : static_cast<int64_t>(values.size()) / width; }
};

void append_rows(Outputs& to, Tensor rows) {
  to.width = rows.cols;
  for (int64_t r = 0; r < rows.rows; ++r)
    to.values.insert(to.values.end(), rows.row(r), rows.row(r) + rows.cols);
}

engine::TapeOptions pass_of(const models::State& state, const CachedPass& pass, bool record) {
  return {.training = true,
          .record = record,
          .seed = pass.seed,
          .step = pass.step,
          .bf16 = state.bf16,
          .checkpoints = state.gradient_checkpointing,
          .neftune_noise_alpha = state.neftune_noise_alpha};
}

Var constant_rows(Tape& tape, float* values, int64_t rows, int64_t cols) {
  return tape.constant(
      engine::make_tensor(const_cast<float*>(tape.on_device(values, rows * cols)), rows, cols));
}

// The loss; replaces the outputs by their gradients.
double loss_of_outputs(models::State& state, const tasks::Task& task, const data::RaggedBatch& whole,
                       const CachedPass& pass, Outputs& outputs) {
  engine::Arena arena(engine::ArenaSize{}, state.parameters.device());
  Tape tape(arena, state.parameters, pass_of(state, pass, true));
  const Var x = constant_rows(tape, outputs.values.data(), outputs.rows(), outputs.width);
  x->needs_grad = true;
  const Var loss = task.loss(tape, x, whole, pass.denominator);
  const double value = tape.scalar(loss);
  tape.backward(loss);
  Outputs gradients;
  if (x->grad)
    append_rows(gradients, tape.on_host(x->grad));
  else  // a loss that does not depend on them
    gradients = {std::vector<float>(outputs.values.size()), outputs.width};
  outputs = std::move(gradients);
  return value;
}

}  // namespace

std::vector<std::vector<int64_t>> mini_batches(const std::vector<std::vector<int64_t>>& step,
                                               int64_t mini_batch_size) {
  std::vector<std::vector<int64_t>> out;
  for (const std::vector<int64_t>& batch : step)
    for (const int64_t example : batch) {
      if (out.empty() || static_cast<int64_t>(out.back().size()) == mini_batch_size) out.emplace_back();
      out.back().push_back(example);
    }
  return out;
}

std::optional<double> cached_gradients(models::State& state, const tasks::Task& task,
                                       const StepBatches& batches, const data::RaggedBatch& whole,
                                       const CachedPass& pass, StepMemory& memory,
                                       const std::atomic<bool>& stop) {
  Outputs outputs;
  for (const data::RaggedBatch& batch : batches) {
    if (stop) return std::nullopt;
    if (batch.size() == 0) continue;
    memory.arena().reset();
    Tape tape(memory.arena(), state.parameters, pass_of(state, pass, false));
    append_rows(outputs, tape.on_host(state.network.forward(tape, batch).logits->data));
  }
  if (outputs.rows() != whole.size())
    fail("the mini-batches have {} sequences, the batch has {}", outputs.rows(), whole.size());
  if (whole.size() == 0) return 0;
  const double loss = loss_of_outputs(state, task, whole, pass, outputs);
  float* at = outputs.values.data();
  for (const data::RaggedBatch& batch : batches) {
    if (stop) return std::nullopt;
    if (batch.size() == 0) continue;
    memory.arena().reset();
    Tape tape(memory.arena(), state.parameters, pass_of(state, pass, true));
    const Var y = state.network.forward(tape, batch).logits;
    const Var gradient = constant_rows(tape, at, batch.size(), outputs.width);
    tape.backward(engine::reduce_sum(tape, engine::mul(tape, y, gradient), engine::Over::all));
    at += batch.size() * outputs.width;
  }
  return loss;
}

void check_ranks(const TrainingArguments& a, const engine::Collective& ranks) {
  if (a.gradient_cache && ranks.size() > 1)
    throw UsageError(
        fmt::format("--gradient_cache true is refused with {} processes: the loss of a step needs the "
                    "outputs of all of them",
                    ranks.size()),
        "train in one process, or without --gradient_cache and with a larger "
        "--per_device_train_batch_size");
}

}  // namespace graft::train
