#include "train/evaluation.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "base/error.h"
#include "base/log.h"
#include "base/stopwatch.h"
#include "train/hidden_cache.h"
#include "train/memory_metrics.h"
#include "train/plan_memory.h"

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
                           const std::atomic<bool>& stop, engine::Collective& collective,
                           const EvaluationChoices& choices) {
  const Stopwatch stopwatch;
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
    evaluate_batch(state, task, batch, choices.loss_only ? nullptr : metrics.get(), sum, memory);
    if (!choices.loss_only) task.add_generated(state, features, i, last, *metrics);
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
  const double seconds = stopwatch.seconds();
  LogEntry entry = {{prefix + "loss", loss}};
  if (!choices.loss_only) {
    for (const auto& [name, value] : metrics->values()) entry.emplace_back(prefix + name, value);
    for (const auto& [name, value] : task.metrics_of_loss(loss)) entry.emplace_back(prefix + name, value);
    if (choices.collapse) *choices.collapse = metrics->collapse();
    if (choices.permutation) *choices.permutation = metrics->permutation();
  }
  entry.emplace_back(prefix + "samples", seen);
  entry.emplace_back(prefix + "runtime", seconds);
  entry.emplace_back(prefix + "samples_per_second", seen / std::max(seconds, 1e-9));
  return entry;
}

namespace {

// bf16 while it lives.
struct PrecisionOf {
  PrecisionOf(models::State& s, bool bf16) : state(s), former(s.bf16) { state.bf16 |= bf16; }
  ~PrecisionOf() { state.bf16 = former; }
  PrecisionOf(const PrecisionOf&) = delete;
  PrecisionOf& operator=(const PrecisionOf&) = delete;
  models::State& state;
  bool former;
};

// Once: the labels of the data and those of the model are in different orders.
void warn_of_permutation(Trainer::Parts& p, const tasks::Permutation& found) {
  if (p.warned_of_permutation || p.collective->rank() != 0) return;
  p.warned_of_permutation = true;
  const std::vector<std::string> labels = p.model.labels();
  std::string pairs;
  for (size_t i = 0; i < labels.size() && i < found.label_of.size(); ++i)
    if (const auto other = static_cast<size_t>(found.label_of[i]); other != i && other < labels.size())
      pairs += fmt::format("{}\"{}\" for \"{}\"", pairs.empty() ? "" : ", ", labels[other], labels[i]);
  log_warning(
      "evaluation: the accuracy is {:.3f}, but {:.3f} with the labels in another order: {}. The label ids of "
      "the "
      "data differ from id2label in the model's config.json; write the labels as names",
      found.accuracy, found.permuted_accuracy, pairs);
}

}  // namespace

int64_t evaluation_batch_size(Trainer::Parts& p, const tasks::Features& features) {
  const int64_t asked = p.arguments.per_device_eval_batch_size;
  // A loss that couples the examples of a batch is another one in smaller batches.
  if (!p.arguments.auto_find_batch_size || p.features.task->couples_examples()) return asked;
  int64_t& found = p.evaluation_batches[&features];
  if (found > 0) return found;
  data::RaggedBatch batch;
  for (const int64_t i : longest_examples(features, asked)) features.append(batch, i, i, -1);
  const int64_t fits = p.memory.largest_batch(p.model.state(), p.features.task.get(), batch, false);
  const bool cuts = fits > 0 && fits < batch.num_examples();  // where none fits, the batch is refused later
  found = cuts ? fits : asked;
  if (cuts && p.collective->rank() == 0)
    log_info(
        "--auto_find_batch_size: an evaluation computes {} examples at once, not {}; its results are the "
        "same",
        found, asked);
  return found;
}

LogEntry evaluate_parts(Trainer::Parts& p, const tasks::Features* features, const std::string& prefix) {
  if (!features || features->size() == 0) fail("there is nothing to evaluate on");
  const TrainingArguments& a = p.arguments;
  const PrecisionOf precision(p.model.state(), a.bf16_full_eval);
  const ReadsCacheOf cache(p, *features);
  std::optional<MemoryStage> stage;
  if (!a.skip_memory_metrics) stage.emplace();
  std::optional<tasks::Permutation> permutation;
  LogEntry entry = evaluate_features(p.model.state(), *p.features.task, *features,
                                     evaluation_batch_size(p, *features), prefix, p.memory, p.stop,
                                     *p.collective, {a.prediction_loss_only, &p.collapse, &permutation});
  if (permutation) warn_of_permutation(p, *permutation);
  if (stage) {
    const LogEntry memory = stage->metrics(prefix.substr(0, prefix.size() - 1));
    entry.insert(entry.end(), memory.begin(), memory.end());
  }
  return entry;
}

}  // namespace graft::train
