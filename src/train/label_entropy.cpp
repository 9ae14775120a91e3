#include "train/label_entropy.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "base/log.h"

namespace graft::train {
namespace {

// A shorter run may not have begun to learn, and the loss of a short epoch alone is noise.
constexpr int64_t kFewestSteps = 50, kFewestOfEpoch = 10;
constexpr double kShareOfEntropy = 0.98;
// Examples whose labels are counted.
constexpr int64_t kMostCounted = 100000;

}  // namespace

std::optional<double> label_entropy(const tasks::Task& task, const tasks::Features& train) {
  const tasks::LossOptions& o = task.loss_options();
  if (!task.has_classes() || o.label_smoothing != 0 || o.focal_gamma != 0 || !o.class_weights.empty() ||
      o.r_drop_alpha != 0)
    return std::nullopt;
  std::map<int32_t, double> counts;
  double all = 0;
  data::RaggedBatch batch;
  const int64_t every = std::max<int64_t>(1, train.size() / kMostCounted);
  for (int64_t i = 0; i < train.size(); i += every) {
    batch.clear();
    train.append(batch, i, 0, 0);
    for (const int32_t label : batch.labels)
      if (label >= 0) ++counts[label], ++all;
  }
  if (all == 0) return std::nullopt;
  double entropy = 0;
  for (const auto& [label, n] : counts) entropy -= n / all * std::log(n / all);
  return entropy;
}

void explain_nothing_learned(const Trainer::Parts& p, const TrainState& s) {
  if (p.collective->rank() != 0 || p.stop || s.step < kFewestSteps || s.epoch_steps == 0) return;
  const std::optional<double> entropy = label_entropy(*p.features.task, *p.features.train);
  if (!entropy || *entropy == 0) return;
  const double loss = s.epoch_loss / static_cast<double>(s.epoch_steps), bound = kShareOfEntropy * *entropy;
  const bool noise = s.epoch_steps < kFewestOfEpoch && s.total_loss / static_cast<double>(s.step) < bound;
  if (loss < bound || noise) return;
  log_warning(
      "nothing was learned: the training loss of the last epoch is {:.4f}; a model that ignores its input "
      "and "
      "predicts how often each label occurs has {:.4f}. Check that the labels belong to their texts. "
      "Otherwise train longer, or with another --learning_rate (it was {:g}; 1e-5 to 5e-5 suits most "
      "encoders)",
      loss, *entropy, p.arguments.learning_rate);
}

}  // namespace graft::train
