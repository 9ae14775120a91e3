#include "train/train_state.h"

#include "base/error.h"
#include "train/parts.h"

namespace graft::train {

void begin_or_continue(TrainState& state, engine::ParameterStore& parameters, const TrainingArguments& args) {
  if (!state.optimizer && state.step == 0) state.optimizer = make_optimizer(parameters, args);
  const int64_t steps = state.optimizer ? state.optimizer->num_steps() : 0;
  if (steps != state.step)
    fail("a run cannot continue at step {}: its optimizer has the moments of step {}", state.step, steps);
}

bool any_stops(Trainer::Parts& parts) {
  double stops = parts.stop ? 1 : 0;
  parts.collective->all_reduce(&stops, 1);
  if (stops > 0) parts.stop = true;
  return stops > 0;
}

}  // namespace graft::train
