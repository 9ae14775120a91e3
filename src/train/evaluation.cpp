#include "train/evaluation.h"

#include <chrono>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/log.h"

namespace graft::train {

LogEntry evaluate_features(models::State& state, const tasks::Task& task, const tasks::Features& features,
                           int64_t batch_size, StepMemory& memory, const std::atomic<bool>& stop) {
  const auto start = std::chrono::steady_clock::now();
  const std::unique_ptr<tasks::Metrics> metrics = task.metrics();
  data::RaggedBatch batch;
  double sum = 0, terms = 0;
  int64_t seen = 0;
  for (int64_t i = 0; i < features.size() && !stop; i += batch_size) {
    batch.clear();
    for (int64_t j = i; j < std::min(features.size(), i + batch_size); ++j) features.append(batch, j, j, -1);
    memory.prepare(state, &task, batch, false);
    evaluate_batch(state, task, batch, metrics.get(), sum, memory);
    terms += task.loss_terms(batch);
    seen += batch.size();
  }
  const double loss = terms > 0 ? sum / terms : std::numeric_limits<double>::quiet_NaN();
  if (terms == 0 && seen > 0) {
    log_warning("evaluation: no {} in {} examples: the loss is undefined; evaluate on more data",
                state.task == "masked-lm" ? "token was masked" : "label", seen);
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  LogEntry entry = {{"eval_loss", loss}};
  for (const auto& [name, value] : metrics->values()) entry.emplace_back("eval_" + name, value);
  if (state.task == "masked-lm") entry.emplace_back("eval_perplexity", std::exp(loss));
  entry.emplace_back("eval_samples", static_cast<double>(seen));
  entry.emplace_back("eval_runtime", seconds);
  entry.emplace_back("eval_samples_per_second", static_cast<double>(seen) / std::max(seconds, 1e-9));
  return entry;
}

LogEntry evaluate_parts(Trainer::Parts& p) {
  if (!p.eval || p.eval->size() == 0) fail("there is nothing to evaluate on");
  return evaluate_features(p.model.state(), *p.task, *p.eval, p.arguments.per_device_eval_batch_size,
                           p.memory, p.stop);
}

}  // namespace graft::train
