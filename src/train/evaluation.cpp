#include "train/evaluation.h"

#include <chrono>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/error.h"
#include "base/log.h"

namespace graft::train {
namespace {

// The metrics of all ranks.
std::unique_ptr<tasks::Metrics> merged(const tasks::Task& task, const tasks::Features& features,
                                       std::unique_ptr<tasks::Metrics> mine, engine::Collective& collective) {
  if (collective.size() == 1) return mine;
  std::unique_ptr<tasks::Metrics> all = task.metrics_of(features);
  const tasks::Partial part = mine->partial();
  for (const std::vector<std::byte>& bytes : collective.all_gather(std::as_bytes(std::span(part)))) {
    tasks::Partial other(bytes.size() / sizeof(double));
    if (!other.empty()) std::memcpy(other.data(), bytes.data(), bytes.size());
    all->merge(other);
  }
  return all;
}

}  // namespace

LogEntry evaluate_features(models::State& state, const tasks::Task& task, const tasks::Features& features,
                           int64_t batch_size, const std::string& prefix, StepMemory& memory,
                           const std::atomic<bool>& stop, engine::Collective& collective) {
  const auto start = std::chrono::steady_clock::now();
  std::unique_ptr<tasks::Metrics> metrics = task.metrics_of(features);
  data::RaggedBatch batch;
  double sums[3] = {0, 0, 0};
  auto& [sum, terms, seen] = sums;
  const auto [begin, end] = share_of(features.size(), collective);
  for (int64_t i = begin; i < end && !(stop && collective.size() == 1); i += batch_size) {
    batch.clear();
    const int64_t last = std::min(end, i + batch_size);
    for (int64_t j = i; j < last; ++j) features.append(batch, j, j, -1);
    memory.prepare(state, &task, batch, false);
    evaluate_batch(state, task, batch, metrics.get(), sum, memory);
    task.add_generated(state, features, i, last, *metrics);
    terms += task.loss_terms(batch);
    seen += static_cast<double>(last - i);  // an example may be several sequences
  }
  collective.all_reduce(sums, 3);
  metrics = merged(task, features, std::move(metrics), collective);
  const double loss = terms > 0 ? sum / terms : std::numeric_limits<double>::quiet_NaN();
  if (terms == 0 && seen > 0) {
    log_warning("evaluation: no {} in {} examples: the loss is undefined; evaluate on more data",
                task.term_name(), seen);
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  LogEntry entry = {{prefix + "loss", loss}};
  for (const auto& [name, value] : metrics->values()) entry.emplace_back(prefix + name, value);
  for (const auto& [name, value] : task.metrics_of_loss(loss)) entry.emplace_back(prefix + name, value);
  entry.emplace_back(prefix + "samples", seen);
  entry.emplace_back(prefix + "runtime", seconds);
  entry.emplace_back(prefix + "samples_per_second", seen / std::max(seconds, 1e-9));
  return entry;
}

LogEntry evaluate_parts(Trainer::Parts& p, const tasks::Features* features, const std::string& prefix) {
  if (!features || features->size() == 0) fail("there is nothing to evaluate on");
  return evaluate_features(p.model.state(), *p.features.task, *features,
                           p.arguments.per_device_eval_batch_size, prefix, p.memory, p.stop, *p.collective);
}

}  // namespace graft::train
