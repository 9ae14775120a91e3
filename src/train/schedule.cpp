#include "train/schedule.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/nearest.h"

namespace graft::train {

Schedule parse_schedule(const std::string& name) {
  if (name == "linear") return Schedule::linear;
  if (name == "cosine") return Schedule::cosine;
  if (name == "constant") return Schedule::constant;
  if (name == "constant_with_warmup") return Schedule::constant_with_warmup;
  const std::string near = nearest_name(name, {"linear", "cosine", "constant", "constant_with_warmup"});
  throw UsageError(fmt::format("--lr_scheduler_type {} is not implemented; there are: linear, cosine, "
                               "constant, constant_with_warmup",
                               name),
                   near.empty() ? "" : "did you mean " + near + "?");
}

double schedule_factor(Schedule schedule, int64_t step, int64_t num_warmup_steps,
                       int64_t num_training_steps) {
  const auto ratio = [](int64_t a, int64_t b) {
    return static_cast<double>(a) / static_cast<double>(std::max<int64_t>(1, b));
  };
  if (schedule == Schedule::constant) return 1;
  if (step < num_warmup_steps) return ratio(step, num_warmup_steps);
  if (schedule == Schedule::constant_with_warmup) return 1;
  if (schedule == Schedule::linear) {
    return std::max(0.0, ratio(num_training_steps - step, num_training_steps - num_warmup_steps));
  }
  const double progress = ratio(step - num_warmup_steps, num_training_steps - num_warmup_steps);
  return std::max(0.0, 0.5 * (1.0 + std::cos(3.14159265358979323846 * progress)));
}

}  // namespace graft::train
