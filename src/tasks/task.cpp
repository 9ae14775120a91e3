#include "tasks/task.h"

#include <algorithm>

#include "base/error.h"
#include "engine/basic_ops.h"

namespace graft::tasks {

std::vector<std::string> names_of(const MetricValues& values) {
  std::vector<std::string> names;
  for (const auto& [name, value] : values) names.push_back(name);
  return names;
}

std::vector<std::string> Metrics::names(const data::RaggedBatch& /*example*/) const {
  return names_of(values());
}

void Task::set_loss_options(LossOptions options) {
  const LabelOptions takes = label_options();
  const auto refuse = [](bool given, const char* name, const char* why) {
    if (given) throw UsageError(fmt::format("--{} is refused: {}", name, why));
  };
  if (takes == LabelOptions::none) {
    const char* why = "the loss of this task and these labels is no cross entropy over classes";
    refuse(options.label_smoothing != 0, "label_smoothing_factor", why);
    refuse(options.r_drop_alpha != 0, "r_drop_alpha", why);
  }
  if (takes != LabelOptions::classes) {
    const char* why = "it is for labels that are one of several classes";
    refuse(options.focal_gamma != 0, "focal_gamma", why);
    refuse(!options.class_weights.empty(), "class_weights", why);
  }
  const bool weighted = options.focal_gamma != 0 || !options.class_weights.empty();
  refuse(options.label_smoothing != 0 && weighted, "label_smoothing_factor",
         "it is not defined with --class_weights and --focal_gamma");
  loss_options_ = std::move(options);
}

double Task::training_terms(const data::RaggedBatch& batch) const {
  if (loss_options_.class_weights.empty()) return loss_terms(batch);
  double sum = 0;
  for (const int32_t label : batch.labels)
    if (label >= 0) sum += static_cast<double>(loss_options_.class_weights[static_cast<size_t>(label)]);
  return sum;
}

engine::LabelLoss Task::label_loss(const engine::Tape& tape) const {
  if (!tape.record()) return {};
  return {static_cast<float>(loss_options_.label_smoothing),
          loss_options_.class_weights.empty() ? nullptr : loss_options_.class_weights.data(),
          static_cast<float>(loss_options_.focal_gamma)};
}

namespace {

// Half of both losses, and alpha times half of both divergences.
LossPass r_drop_loss(engine::Tape& tape, const models::Network& network, const Task& task,
                     const data::RaggedBatch& batch, double denominator) {
  LossPass out;
  out.logits = network.forward(tape, batch).logits;
  const engine::Var first = task.loss(tape, out.logits, batch, 2 * denominator);
  tape.next_pass();
  const engine::Var again = network.forward(tape, batch).logits;
  const engine::Var second = task.loss(tape, again, batch, 2 * denominator);
  const engine::Var divergence =
      engine::add(tape, engine::kl_divergence(tape, out.logits, again, 1, 2 * denominator),
                  engine::kl_divergence(tape, again, out.logits, 1, 2 * denominator));
  out.loss =
      engine::add(tape, engine::add(tape, first, second),
                  engine::scale(tape, divergence, static_cast<float>(task.loss_options().r_drop_alpha)));
  return out;
}

}  // namespace

LossPass forward_loss(engine::Tape& tape, const models::Network& network, const Task& task,
                      const data::RaggedBatch& batch, double denominator, double* total) {
  if (tape.record() && task.loss_options().r_drop_alpha > 0)
    return r_drop_loss(tape, network, task, batch, denominator);
  if (tape.record())
    if (const LossPass own = task.training_pass(tape, network, batch, denominator); own.loss) return own;
  LossPass out;
  const engine::Linear* layer = task.reads_hidden() ? network.head->only_layer() : nullptr;
  if (!layer || layer->weight->adapter) {
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
