// Learning rate as a function of the step, under the reference's names.
#pragma once
#include <cstdint>
#include <string>

namespace graft::train {

enum class Schedule : uint8_t { linear, cosine, constant, constant_with_warmup };

// "linear", "cosine", "constant", "constant_with_warmup"; UsageError with the nearest otherwise.
Schedule parse_schedule(const std::string& name);

// Factor on the learning rate for optimizer step `step` (0-based) of `num_training_steps`, as
// transformers.get_scheduler.
double schedule_factor(Schedule schedule, int64_t step, int64_t num_warmup_steps, int64_t num_training_steps);

}  // namespace graft::train
