#include "train/train_state.h"

#include "base/error.h"
#include "train/parts.h"
#include "train/plan.h"

namespace graft::train {

void begin_or_continue(TrainState& state, engine::ParameterStore& parameters, const TrainingArguments& args) {
  if (!state.optimizer && state.step == 0) state.optimizer = make_optimizer(parameters, args);
  const int64_t steps = state.optimizer ? state.optimizer->num_steps() : 0;
  if (steps + state.skipped_steps != state.step)
    fail("a run cannot continue at step {}: its optimizer has the moments of step {}", state.step, steps);
}

DataCursor data_cursor(const TrainState& s, const StepPlan& plan) {
  const int64_t steps = s.step - s.data_step;
  return {s.data_epoch + steps / plan.steps_per_epoch, steps % plan.steps_per_epoch};
}

bool epoch_ends(const TrainState& s, const StepPlan& plan) {
  return s.step == plan.total_steps || data_cursor(s, plan).window == 0;
}

bool evaluation_is_missing(const TrainState& s, const StepPlan& plan, const TrainingArguments& a) {
  return s.step > 0 && s.evaluated_at != s.step &&
         evaluation_is_due(a, plan, s.step, s.epoch, epoch_ends(s, plan));
}

bool any_stops(Trainer::Parts& parts) {
  double stops = parts.stop ? 1 : 0;
  parts.collective->all_reduce(&stops, 1);
  if (stops > 0) parts.stop = true;
  return stops > 0;
}

}  // namespace graft::train
