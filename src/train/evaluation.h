// Metrics over a set, streamed.
#pragma once
#include <atomic>
#include <optional>
#include <string>

#include "train/parts.h"

namespace graft::train {

struct EvaluationChoices {
  bool loss_only = false;  // no metrics
  // Receive what the metrics find.
  std::optional<tasks::Collapse>* collapse = nullptr;
  std::optional<tasks::Permutation>* permutation = nullptr;
};

// The loss (sum of terms / number of terms: it does not depend on the batch size), the task's metrics and the
// speed, with a prefix ("eval_", "test_"). A loss without terms is NaN, with a warning. If `stop` becomes
// true, one process returns the metrics of the batches so far. Several share the examples, and each returns
// the metrics of all.
LogEntry evaluate_features(models::State& state, const tasks::Task& task, const tasks::Features& features,
                           int64_t batch_size, const std::string& prefix, StepMemory& memory,
                           const std::atomic<bool>& stop,
                           engine::Collective& collective = engine::single_process(),
                           const EvaluationChoices& choices = {});

// The examples of a batch when these features are evaluated: per_device_eval_batch_size, or with
// auto_find_batch_size as many as fit into memory. The metrics do not depend on it.
int64_t evaluation_batch_size(Trainer::Parts& parts, const tasks::Features& features);

// The same of a set of a Trainer, with its precision, choice of metrics and memory metrics. Notes a collapse
// in parts.collapse. Throws Error for an empty one.
LogEntry evaluate_parts(Trainer::Parts& parts, const tasks::Features* features, const std::string& prefix);

}  // namespace graft::train
