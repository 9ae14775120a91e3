#include "transfer/merge.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/folder.h"
#include "base/log.h"
#include "base/threads.h"
#include "graft/tokenizer.h"
#include "models/config_keys.h"
#include "models/registry.h"
#include "models/saved_model.h"
#include "tasks/task_table.h"
#include "train/output.h"
#include "train/trained_model.h"
#include "transfer/folders.h"

namespace graft::transfer {
namespace fs = std::filesystem;

namespace {

constexpr const char* kMethods[] = {"average", "linear", "task_arithmetic"};

void check_merge_options(const MergeOptions& o) {
  if (std::find(std::begin(kMethods), std::end(kMethods), o.method) == std::end(kMethods))
    throw UsageError(
        fmt::format("--method {} is not known; there are: {}", o.method, fmt::join(kMethods, ", ")));
  const size_t n = o.models.size();
  const bool arithmetic = o.method == "task_arithmetic";
  if (n < (arithmetic ? 1u : 2u)) throw UsageError("--models needs two models or more", "--models A,B");
  if (arithmetic == o.base.empty())
    throw UsageError(arithmetic ? "--method task_arithmetic needs --base"
                                : fmt::format("--base is refused for --method {}", o.method),
                     "--base names the model from which the others were fine-tuned");
  if (o.method == "linear" ? o.weights.size() != n : !o.weights.empty())
    throw UsageError(o.method == "linear"
                         ? fmt::format("--method linear needs one of --weights for each of the {} models", n)
                         : fmt::format("--weights is refused for --method {}", o.method),
                     "--method linear --weights 0.3,0.7");
  double sum = 0;
  for (const double w : o.weights) sum += w;
  if (!o.weights.empty() && !(std::fabs(sum - 1) < 1e-6))
    throw UsageError(fmt::format("--weights {}: their sum is {}, not 1", fmt::join(o.weights, ","), sum));
  if (o.scale.size() != 1 && o.scale.size() != n)
    throw UsageError(fmt::format("--scale has {} numbers for {} models", o.scale.size(), n),
                     "give one for all, or one for each");
  constexpr double kLargest = 1000;
  for (const double scale : o.scale)
    if (!(std::fabs(scale) <= kLargest))
      throw UsageError(
          fmt::format("--scale {}: a number from -{} to {} was expected", scale, kLargest, kLargest));
}

std::vector<double> factors_of(const MergeOptions& o) {
  const size_t n = o.models.size();
  if (o.method == "linear") return o.weights;
  if (o.method == "average") return std::vector<double>(n, 1.0 / static_cast<double>(n));
  return o.scale.size() == 1 ? std::vector<double>(n, o.scale[0]) : o.scale;
}

Model load(const fs::path& folder, const std::string& task) {
  Model model = train::load_trained(folder, task);
  check_finite(model, folder);
  return model;
}

Model first_model(const MergeOptions& o) {
  check_merge_options(o);
  const std::string task = o.task.empty() ? train::trained_task(o.models.front())
                                          : std::string(tasks::find_task(o.task).head->task);
  return load(o.models.front(), task);
}

// A copy whose weights are set later.
Model copy_of(const fs::path& folder, const std::string& task) { return train::load_trained(folder, task); }

std::string in_words(const std::vector<std::string>& labels) {
  return fmt::format("{}", fmt::join(labels, ", "));
}

}  // namespace

Merger::Merger(const MergeOptions& o)
    : first_(o.models.empty() ? fs::path() : o.models.front()),
      models_{first_model(o)},
      factors_(factors_of(o)),
      merged_(copy_of(first_, models_.front().task())) {
  const std::string task = models_.front().task();
  for (size_t i = 1; i < o.models.size(); ++i) {
    models_.push_back(load(o.models[i], task));
    check(models_.back(), o.models[i]);
    check_same_pieces(first_, o.models[i]);
  }
  if (!o.base.empty()) load_base(o.base);
  set(factors_);
}

void Merger::check(const Model& other, const fs::path& folder) const {
  const models::State &a = models_.front().state(), &b = other.state();
  const std::string both = fmt::format("{} and {}", first_.string(), folder.string());
  if (a.family != b.family)
    fail("{}: a {} and a {} cannot be merged", both, a.family->model_type, b.family->model_type);
  const std::vector<std::string> dropout = models::dropout_keys(a.family);
  for (const std::string key : a.family->keys.used) {
    if (std::find(dropout.begin(), dropout.end(), key) != dropout.end()) continue;
    const Json x = a.config.json().value(key, Json()), y = b.config.json().value(key, Json());
    if (!x.is_null() && !y.is_null() && !(x == y))
      fail("{}: \"{}\" is {} and {}: models of different shapes cannot be merged", both, key, x.dump(),
           y.dump());
  }
  if (models_.front().labels() != other.labels())
    fail_with("fine-tune both with the same labels in the same order",
              "{}: their heads have the labels {} and {}: an average would mix them", both,
              in_words(models_.front().labels()), in_words(other.labels()));
  if (a.config.modules.pooling != b.config.modules.pooling ||
      a.config.modules.normalize != b.config.modules.normalize)
    fail("{}: their embeddings have another pooling or normalisation", both);
  for (const engine::Parameter& p : a.parameters.parameters()) {
    const engine::Parameter* found = b.parameters.find(p.name);
    if (!found || found->shape != p.shape)
      fail("{}: {} is [{}] and {}", both, p.name, fmt::join(p.shape, ", "),
           found ? fmt::format("[{}]", fmt::join(found->shape, ", ")) : "missing");
  }
}

// Its head may be missing, or that of another task.
void Merger::load_base(const fs::path& folder) {
  ModelOptions options;
  options.task = models_.front().task();
  options.labels = models_.front().labels();
  options.ignore_mismatched_sizes = true;
  models_.push_back(Model::from_pretrained(folder, options));
  check(models_.back(), folder);
  check_same_pieces(first_, folder);
  has_base_ = true;
  const std::vector<std::string>& missing = models_.back().load_report().missing;
  if (!missing.empty())
    log_info("{} has no {}: there the result is the mean of the models", folder.string(),
             fmt::join(missing, ", "));
}

void Merger::set(const std::vector<double>& factors) {
  double rest = 1;
  for (const double f : factors) rest -= f;
  std::set<std::string> without_base;
  if (has_base_) {
    const LoadReport& report = models_.back().load_report();
    without_base.insert(report.missing.begin(), report.missing.end());
    for (const std::string& name : report.mismatched) without_base.insert(name.substr(0, name.find(' ')));
  }
  const size_t n = factors.size();
  models::State& out = merged_.state();
  for (const engine::Parameter& p : out.parameters.parameters()) {
    // What the base does not have has no difference to it: the mean of the models.
    const bool mean = without_base.contains(p.name);
    std::vector<double> scale;
    std::vector<engine::HostRead> values;
    for (size_t i = 0; i < models_.size(); ++i) {
      const double factor = i < n ? (mean ? 1.0 / static_cast<double>(n) : factors[i]) : mean ? 0 : rest;
      if (factor == 0) continue;
      const models::State& state = models_[i].state();
      values.push_back(state.parameters.read_value(*state.parameters.find(p.name)));
      scale.push_back(factor);
    }
    const engine::HostWrite write = out.parameters.write_value(p);
    float* to = write.data();
    parallel_blocks(p.size, 1 << 16, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        if (scale.empty()) {
          to[i] = 0;
          continue;
        }
        double sum = scale[0] * static_cast<double>(values[0][i]);
        for (size_t m = 1; m < scale.size(); ++m) sum += scale[m] * static_cast<double>(values[m][i]);
        to[i] = static_cast<float>(sum);
      }
    });
  }
  out.parameters.touch_values();
}

void Merger::save(const fs::path& output_dir) const {
  save_derived(merged_, first_, *Tokenizer::from_pretrained(first_), output_dir);
}

}  // namespace graft::transfer
