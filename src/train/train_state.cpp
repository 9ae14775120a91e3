#include "train/train_state.h"

#include "base/error.h"
#include "train/plan.h"

namespace graft::train {

void begin_or_continue(TrainState& state, engine::ParameterStore& parameters, const TrainingArguments& args) {
  if (!state.optimizer && state.step == 0)
    state.optimizer = std::make_unique<AdamW>(parameters, optimizer_options(args));
  const int64_t steps = state.optimizer ? state.optimizer->num_steps() : 0;
  if (steps != state.step)
    fail("a run cannot continue at step {}: its optimizer has the moments of step {}", state.step, steps);
}

}  // namespace graft::train
