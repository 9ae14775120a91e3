// Metrics over a set, streamed.
#pragma once
#include <atomic>

#include "train/parts.h"

namespace graft::train {

// "eval_loss" (sum of terms / number of terms: it does not depend on the batch size), the task's metrics, for
// masked-lm perplexity, and the speed. A loss without terms is NaN, with a warning. If `stop` becomes true,
// it returns the metrics of the batches so far.
LogEntry evaluate_features(models::State& state, const tasks::Task& task, const tasks::Features& features,
                           int64_t batch_size, StepMemory& memory, const std::atomic<bool>& stop);

// The same of a Trainer's evaluation set.
LogEntry evaluate_parts(Trainer::Parts& parts);

}  // namespace graft::train
