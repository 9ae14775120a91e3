#include "tasks/task.h"

namespace graft::tasks {

LossPass forward_loss(engine::Tape& tape, const models::Network& network, const Task& task,
                      const data::RaggedBatch& batch, double denominator, double* total) {
  LossPass out;
  const engine::Linear* layer = task.reads_hidden() ? network.head->only_layer() : nullptr;
  if (!layer || layer->weight->adapter.a) {
    out.logits = network.forward(tape, batch).logits;
    out.loss = task.loss(tape, out.logits, batch, denominator, total);
    return out;
  }
  const engine::Var hidden = network.forward(tape, batch, {.logits = false}).hidden;
  out.loss =
      task.loss_of_hidden(tape, hidden, *layer, batch, denominator, total, total ? &out.right : nullptr);
  return out;
}

}  // namespace graft::tasks
