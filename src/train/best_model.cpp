#include "train/best_model.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/durable_file.h"
#include "base/error.h"
#include "base/file.h"
#include "base/folder.h"
#include "base/log.h"
#include "models/saved_model.h"
#include "train/arguments.h"
#include "train/checkpoint.h"
#include "train/manifest.h"
#include "train/metric_names.h"

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
  metric_ = metric_of_evaluation(args_.metric_for_best_model);
  greater_is_better_ = args_.greater_is_better.value_or(should_grow(metric_));
  log_info("the best evaluation is that of the {} {}", greater_is_better_ ? "largest" : "smallest", metric_);
}

bool BestModel::improves(const LogEntry& metrics) {
  if (metric_.empty() || metrics.empty()) return false;
  const auto found =
      std::find_if(metrics.begin(), metrics.end(), [&](const auto& m) { return m.first == metric_; });
  if (found == metrics.end()) {
    std::vector<std::string> names = tasks::names_of(metrics);
    std::erase(names, "epoch");
    check_metric(args_.metric_for_best_model, names);  // throws
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

namespace {

namespace fs = std::filesystem;

// Throws Error unless `folder` is a whole checkpoint of this step.
void check_step(const fs::path& folder, int64_t wanted) {
  if (!is_folder(folder)) fail("{}: there is no such folder", folder.string());
  const Json manifest = verified_manifest(folder);
  if (const auto step = manifest.at("global_step").get<int64_t>(); step != wanted)
    fail("{}: is the model of step {}, and the best one is that of step {}", folder.string(), step, wanted);
}

bool is_of_step(const fs::path& folder, int64_t wanted) try {
  check_step(folder, wanted);
  return true;
} catch (const Error&) {
  return false;
}

void copy_tree(const fs::path& from, const fs::path& to) {
  make_folders(to);
  for (const fs::path& path : list_folder(from)) {
    const fs::path copy = to / path.filename();
    if (is_folder(path))
      copy_tree(path, copy);
    else
      write_file(copy, MappedFile(path).text());
  }
  sync_folder(to);
}

}  // namespace

void provide_best(const Trainer::Parts& parts, const TrainState& state, const fs::path& resumed) {
  const TrainingArguments& a = parts.arguments;
  if (!tracks_best(a) || state.best_step < 0 || parts.collective->rank() != 0) return;
  std::error_code ignored;
  const fs::path output = a.output_dir, best = output / "best",
                 former = fs::absolute(resumed, ignored).lexically_normal().parent_path();
  std::string complaint;
  try {
    return check_step(best, state.best_step);
  } catch (const Error& e) {
    complaint = e.what();
  }
  const std::string name = checkpoint_name(state.best_step);
  for (const fs::path& folder : {former / "best", resumed, former / name, output / name}) {
    if (!is_of_step(folder, state.best_step)) continue;
    const fs::path fresh = output / "tmp-best";
    remove_tree(fresh);
    copy_tree(folder, fresh);
    replace_folder(fresh, best);
    return log_info("{}: the model of the best evaluation so far (step {}) is copied from {}", best.string(),
                    state.best_step, folder.string());
  }
  log_warning(
      "the model of the best evaluation so far (step {}) is not there: {}. Only a later evaluation that is "
      "better "
      "gives a new one{}",
      state.best_step, complaint,
      a.load_best_model_at_end ? "; without one the output is the model of the last step" : "");
}

bool load_best(Trainer::Parts& parts, const BestModel& best) {
  const TrainingArguments& a = parts.arguments;
  if (!a.load_best_model_at_end || best.best_step() < 0) return false;
  const std::filesystem::path folder = std::filesystem::path(a.output_dir) / "best";
  try {
    check_step(folder, best.best_step());
    models::restore_weights(parts.model.state(), folder);
  } catch (const Error& e) {
    log_warning("the output is the model of the last step, not the best one: {}", e.what());
    return false;
  }
  log_info("the output is the model of step {}, the best by {}", best.best_step(), best.metric());
  return true;
}

}  // namespace graft::train
