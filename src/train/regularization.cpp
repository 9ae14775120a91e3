#include "train/regularization.h"

#include <cmath>

#include "base/log.h"

namespace graft::train {

using engine::Parameter;

void plan_unfreezing(engine::ParameterStore& store, const TrainingArguments& a, int64_t steps_per_epoch) {
  for (Parameter& p : store.parameters())
    p.frozen_steps = a.gradual_unfreezing > 0
                         ? (p.depth + a.gradual_unfreezing - 1) / a.gradual_unfreezing * steps_per_epoch
                         : 0;
}

Regularization::Regularization(models::State& state, TrainState& at, const TrainingArguments& a,
                               const StepPlan& plan)
    : seed_(a.seed), swa_lr_(a.swa_start > 0 ? a.swa_lr : 0) {
  if (a.mixout > 0)
    mixout_ = &carried<Mixout>(at.stateful, Mixout::kKey,
                               [&] { return std::make_unique<Mixout>(state.parameters, a.mixout); });
  if (average_kind(a) != AverageKind::none) {
    const double start = a.swa_start < 1 ? a.swa_start * static_cast<double>(plan.total_steps)
                                         : a.swa_start * static_cast<double>(plan.steps_per_epoch);
    swa_start_ = static_cast<int64_t>(std::ceil(start));
    average_ = &carried<WeightAverage>(at.stateful, WeightAverage::kKey, [&] {
      return std::make_unique<WeightAverage>(state.parameters, a, swa_start_);
    });
    if (average_->swapped()) average_->swap();  // by an earlier part of the run that has ended
  }
  int64_t late = 0;
  for (Parameter& p : state.parameters.parameters()) {
    if (!p.trainable || p.frozen_steps == 0) continue;
    gradual_.push_back(&p);
    late += p.frozen_steps >= plan.total_steps ? 1 : 0;
  }
  if (late > 0)
    log_warning(
        "--gradual_unfreezing {}: {} parameters stay frozen, because the run of {:.3g} epochs ends before "
        "their turn",
        a.gradual_unfreezing, late, plan.num_epochs);
}

Regularization::~Regularization() {
  for (Parameter* p : gradual_) p->trainable = true;
}

Regularization::Pass Regularization::begin_pass(int64_t step, int64_t optimizer_steps) {
  for (Parameter* p : gradual_) p->trainable = optimizer_steps >= p->frozen_steps;
  if (mixout_) mixout_->mix(seed_, static_cast<uint64_t>(step));
  return Pass(mixout_);
}

void Regularization::after_step(Optimizer& optimizer, int64_t step, bool epoch_ends, bool evaluates) {
  if (!average_ || !average_->counts(step, epoch_ends, evaluates)) return;
  optimizer.flush();
  average_->add();
}

void Regularization::finish() {
  if (!average_ || average_->swapped()) return;
  if (average_->num_added() == 0)
    return log_warning(
        "the average of the weights is empty: the run ended before its first; the model has the last "
        "weights");
  average_->swap();
  log_info("the model has the average of the weights, of {} {}", average_->num_added(), average_->unit());
}

}  // namespace graft::train
