// Learning rate as a function of the step, under the reference's names and formulas
// (transformers/optimization.py).
#pragma once
#include <cstdint>
#include <string>

#include "graft/trainer.h"
#include "train/plateau.h"
#include "train/train_state.h"

namespace graft::train {

enum class ScheduleType : uint8_t {
  linear,
  cosine,
  cosine_with_restarts,
  cosine_with_min_lr,
  cosine_warmup_with_min_lr,
  polynomial,
  constant,
  constant_with_warmup,
  inverse_sqrt,
  warmup_stable_decay,
  reduce_lr_on_plateau,
};

// The shapes of warmup_stable_decay's ramps: t, (1 - cos(pi t)) / 2 and 1 - sqrt(1 - t) from 0 to 1.
enum class Ramp : uint8_t { linear, cosine, one_minus_sqrt };

struct Schedule {
  ScheduleType type = ScheduleType::linear;
  double learning_rate = 0;
  // Settings, with the reference's defaults.
  double num_cycles = 0.5;                             // waves of the cosine; restarts count whole ones
  double min_lr_rate = 0, warmup_lr_rate = -1;         // -1: rises from 1 / num_warmup_steps
  double lr_end = 1e-7, power = 1;                     // polynomial
  double timescale = 0;                                // inverse_sqrt; 0: num_warmup_steps, or 10,000
  double num_decay_steps = -1, num_stable_steps = -1;  // stable: -1 = what the other phases leave
  Ramp warmup_type = Ramp::linear, decay_type = Ramp::cosine;
  PlateauSettings plateau{};

  bool is_constant() const {  // without warm-up
    return type == ScheduleType::constant || type == ScheduleType::reduce_lr_on_plateau;
  }
};

// All names, separated by ", ".
std::string schedule_names();

// --lr_scheduler_type with --lr_scheduler_kwargs, a json object or "". Throws UsageError with the nearest
// name for an unknown type, and for settings that the type lacks, that it needs, or that are out of range.
Schedule parse_schedule(const std::string& type, const std::string& kwargs = "", double learning_rate = 5e-5);

inline Schedule schedule_of(const TrainingArguments& a) {
  return parse_schedule(a.lr_scheduler_type, a.lr_scheduler_kwargs, a.learning_rate);
}

// Factor on the learning rate for optimizer step `step` (0-based) of `num_training_steps`, as
// transformers.get_scheduler. 1 for reduce_lr_on_plateau, whose rate is that of its Plateau.
double schedule_factor(const Schedule& schedule, int64_t step, int64_t num_warmup_steps,
                       int64_t num_training_steps);

// The Plateau of a run with this schedule, null for every other type.
Plateau* carried_plateau(TrainState& state, const Schedule& schedule);
// Takes eval_loss of an evaluation and logs a fall of the rate.
void follow(Plateau& plateau, const LogEntry& metrics);

}  // namespace graft::train
