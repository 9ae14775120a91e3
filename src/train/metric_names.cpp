#include "train/metric_names.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "base/error.h"
#include "base/nearest.h"
#include "train/arguments.h"
#include "train/evaluation_sets.h"
#include "train/schedule.h"

namespace graft::train {
namespace {

void add_names(std::vector<std::string>& to, const Trainer::Parts& p, const tasks::Features& features,
               const std::string& prefix) {
  if (features.size() == 0) return;
  std::vector<std::string> names = {"loss"};
  if (!p.arguments.prediction_loss_only) {
    const tasks::Task& task = *p.features.task;
    data::RaggedBatch example;
    features.append(example, 0, 0, -1);
    for (const std::vector<std::string>& more :
         {task.metrics_of(features)->names(example), tasks::names_of(task.metrics_of_loss(1))})
      names.insert(names.end(), more.begin(), more.end());
  }
  names.insert(names.end(), {"samples", "runtime", "samples_per_second"});
  if (!p.arguments.skip_memory_metrics)
    names.insert(names.end(), {"mem_cpu_alloc_delta", "mem_cpu_peaked_delta"});
  for (const std::string& name : names) to.push_back(prefix + name);
}

}  // namespace

std::vector<std::string> evaluation_names(const Trainer::Parts& p) {
  std::vector<std::string> names;
  if (p.evaluation_sets.empty() && p.features.eval) add_names(names, p, *p.features.eval, "eval_");
  for (const auto& [name, features] : p.evaluation_sets) add_names(names, p, *features, "eval_" + name + "_");
  return names;
}

std::string metric_of_evaluation(const std::string& metric_for_best_model) {
  const std::string name = metric_for_best_model.empty() ? "loss" : metric_for_best_model;
  return name.starts_with("eval_") ? name : "eval_" + name;
}

void check_metric(const std::string& asked, const std::vector<std::string>& names) {
  const std::string metric = metric_of_evaluation(asked);
  if (std::find(names.begin(), names.end(), metric) != names.end()) return;
  const std::string list = fmt::format("{}", fmt::join(names, ", "));
  if (asked.empty())
    throw UsageError(
        fmt::format("{0} decides which model is the best, and the evaluation has no {0}; it has: {1}", metric,
                    list),
        "name one of them with --metric_for_best_model");
  const std::string near = nearest_name(metric, names);
  throw UsageError(
      fmt::format("--metric_for_best_model {}: the evaluation has no {}; it has: {}", asked, metric, list),
      near.empty() ? "name one of them" : "did you mean " + near + "?");
}

void check_metric(const Trainer::Parts& p) {
  const TrainingArguments& a = p.arguments;
  const bool follows = tracks_best(a) ||
                       (a.eval_strategy != "no" && schedule_of(a).type == ScheduleType::reduce_lr_on_plateau);
  const std::vector<std::string> names = follows ? evaluation_names(p) : std::vector<std::string>();
  if (!names.empty()) check_metric(a.metric_for_best_model, names);
}

}  // namespace graft::train
