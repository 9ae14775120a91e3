#include "train/evaluation.h"

#include <chrono>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/log.h"

namespace graft::train {

LogEntry evaluate_features(models::State& state, const tasks::Task& task, const tasks::Features& features,
                           int64_t batch_size, const std::string& prefix, StepMemory& memory,
                           const std::atomic<bool>& stop) {
  const auto start = std::chrono::steady_clock::now();
  const std::unique_ptr<tasks::Metrics> metrics = task.metrics();
  data::RaggedBatch batch;
  double sum = 0, terms = 0;
  int64_t seen = 0;
  for (int64_t i = 0; i < features.size() && !stop; i += batch_size) {
    batch.clear();
    const int64_t end = std::min(features.size(), i + batch_size);
    for (int64_t j = i; j < end; ++j) features.append(batch, j, j, -1);
    memory.prepare(state, &task, batch, false);
    evaluate_batch(state, task, batch, metrics.get(), sum, memory);
    terms += task.loss_terms(batch);
    seen += end - i;  // an example may be several sequences
  }
  const double loss = terms > 0 ? sum / terms : std::numeric_limits<double>::quiet_NaN();
  if (terms == 0 && seen > 0) {
    log_warning("evaluation: no {} in {} examples: the loss is undefined; evaluate on more data",
                task.term_name(), seen);
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  LogEntry entry = {{prefix + "loss", loss}};
  for (const auto& [name, value] : metrics->values()) entry.emplace_back(prefix + name, value);
  for (const auto& [name, value] : task.metrics_of_loss(loss)) entry.emplace_back(prefix + name, value);
  entry.emplace_back(prefix + "samples", static_cast<double>(seen));
  entry.emplace_back(prefix + "runtime", seconds);
  entry.emplace_back(prefix + "samples_per_second", static_cast<double>(seen) / std::max(seconds, 1e-9));
  return entry;
}

LogEntry evaluate_parts(Trainer::Parts& p, const tasks::Features* features, const std::string& prefix) {
  if (!features || features->size() == 0) fail("there is nothing to evaluate on");
  return evaluate_features(p.model.state(), *p.features.task, *features,
                           p.arguments.per_device_eval_batch_size, prefix, p.memory, p.stop);
}

}  // namespace graft::train
