#include "train/regularization.h"

#include <cmath>

#include "base/error.h"
#include "base/log.h"

namespace graft::train {

using engine::Parameter;

void plan_unfreezing(engine::ParameterStore& store, const TrainingArguments& a, int64_t steps_per_epoch) {
  for (Parameter& p : store.parameters())
    p.frozen_steps = a.gradual_unfreezing > 0
                         ? (p.depth + a.gradual_unfreezing - 1) / a.gradual_unfreezing * steps_per_epoch
                         : 0;
}

namespace {

// SWA that averages nothing, or the last weights alone.
void check_swa_start(const TrainingArguments& a, const StepPlan& plan, int64_t first_step) {
  if (a.swa_start == 0) return;
  const auto ends_before = [&](int64_t step) { return (step - 1) / plan.steps_per_epoch; };
  // Ends of epochs from the first step that counts to the end of the run, which counts as one.
  const int64_t counted =
      first_step > plan.total_steps ? 0 : ends_before(plan.total_steps) - ends_before(first_step) + 1;
  if (counted > 1) return;
  const std::string what = fmt::format(
      "--swa_start {}: the run of {} steps ({:.3g} epochs) has {} from step {} on, so that {}", a.swa_start,
      plan.total_steps, plan.num_epochs, counted == 0 ? "no end of an epoch" : "one end of an epoch",
      first_step, counted == 0 ? "no weights are averaged" : "only the last weights are averaged");
  const char* hint =
      "give an earlier --swa_start (below 1: a share of the run; otherwise an epoch) or more epochs";
  if (counted == 0) throw UsageError(what, hint);
  log_warning("{}; {}", what, hint);
}

}  // namespace

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
    check_swa_start(a, plan, swa_start_);
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
        "--gradual_unfreezing {}: {} of {} tensors stay frozen, because the run of {:.3g} epochs ends before "
        "their turn; give a larger --gradual_unfreezing or more epochs",
        a.gradual_unfreezing, late, state.parameters.parameters().size(), plan.num_epochs);
  if (a.gradual_unfreezing > 0 && gradual_.empty())
    log_info("--gradual_unfreezing {} has no effect: only the head is trained", a.gradual_unfreezing);
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
