#include "train/best_model.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/log.h"
#include "base/nearest.h"
#include "models/saved_model.h"
#include "train/arguments.h"
#include "train/manifest.h"

namespace graft::train {
namespace {

// The reference takes every metric but a loss for one that should grow; errors should not.
bool should_grow(const std::string& metric) {
  for (const char* end : {"loss", "mse", "mae", "rmse", "perplexity", "runtime"})
    if (metric.ends_with(end)) return false;
  return true;
}

}  // namespace

BestModel::BestModel(const TrainingArguments& arguments, TrainState& state)
    : args_(arguments), state_(state) {
  if (!tracks_best(args_)) return;
  const std::string name = args_.metric_for_best_model.empty() ? "loss" : args_.metric_for_best_model;
  metric_ = name.starts_with("eval_") ? name : "eval_" + name;
  greater_is_better_ = args_.greater_is_better.value_or(should_grow(metric_));
  log_info("the best evaluation is that of the {} {}", greater_is_better_ ? "largest" : "smallest", metric_);
}

bool BestModel::improves(const LogEntry& metrics) {
  if (metric_.empty() || metrics.empty()) return false;
  const auto found =
      std::find_if(metrics.begin(), metrics.end(), [&](const auto& m) { return m.first == metric_; });
  if (found == metrics.end()) {
    std::vector<std::string> names;
    std::string list;
    for (const auto& [name, value] : metrics) {
      if (name == "epoch") continue;
      names.push_back(name);
      list += (list.empty() ? "" : ", ") + name;
    }
    const std::string near = nearest_name(metric_, names);
    fail_with(near.empty() ? "" : "did you mean " + near + "?",
              "--metric_for_best_model {}: the evaluation has no {}; it has: {}", args_.metric_for_best_model,
              metric_, list);
  }
  const double value = found->second;
  const bool first = state_.best_step < 0;
  const double gain = greater_is_better_ ? value - state_.best_metric : state_.best_metric - value;
  const bool counts = first ? !std::isnan(value) : gain > args_.early_stopping_threshold;
  state_.evaluations_without_gain = counts ? 0 : state_.evaluations_without_gain + 1;
  if (!(first ? !std::isnan(value) : gain > 0)) return false;
  state_.best_metric = value;
  state_.best_step = state_.step;
  return true;
}

bool BestModel::out_of_patience() const {
  return args_.early_stopping_patience && state_.evaluations_without_gain >= *args_.early_stopping_patience;
}

void BestModel::explain_stop() const {
  if (out_of_patience())
    log_info(
        "stopped early at step {}: {} has not improved for {} evaluations; it was best at step {}: {:.4f}",
        state_.step, metric_, state_.evaluations_without_gain, state_.best_step, state_.best_metric);
}

LogEntry BestModel::best_metrics() const {
  for (const Json& line : state_.history) {
    if (line.at("step").get<int64_t>() != state_.best_step || !line.contains(metric_)) continue;
    LogEntry entry;
    for (const auto& [name, value] : line.items())
      if (name != "step")
        entry.emplace_back(name,
                           value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.get<double>());
    return entry;
  }
  return {};
}

bool load_best(Trainer::Parts& parts, const BestModel& best) {
  const TrainingArguments& a = parts.arguments;
  if (!a.load_best_model_at_end || best.best_step() < 0) return false;
  const std::filesystem::path folder = std::filesystem::path(a.output_dir) / "best";
  try {
    const Json manifest = verified_manifest(folder);
    if (const auto step = manifest.at("global_step").get<int64_t>(); step != best.best_step())
      fail("{}: is the model of step {}, and the best one is that of step {}", folder.string(), step,
           best.best_step());
    models::restore_weights(parts.model.state(), folder);
  } catch (const Error& e) {
    log_warning("the output is the model of the last step, not the best one: {}", e.what());
    return false;
  }
  log_info("the output is the model of step {}, the best by {}", best.best_step(), best.metric());
  return true;
}

}  // namespace graft::train
