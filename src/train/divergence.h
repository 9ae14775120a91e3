// Signs that a training goes wrong: spikes of the gradient, gradients that vanish, a loss that is not finite.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"
#include "engine/parameters.h"
#include "train/parts.h"
#include "train/stateful.h"
#include "train/step_batches.h"

namespace graft::train {

// Follows the gradients of a run.
class GradientWatch final : public Stateful {
 public:
  static constexpr const char* kKey = "gradient_watch";
  // The options skip_grad_spikes and max_skipped_steps.
  explicit GradientWatch(const TrainingArguments& arguments)
      : factor_(arguments.skip_grad_spikes), most_skipped_(arguments.max_skipped_steps) {}

  // True if the optimizer must leave this step out: its gradient norm exceeds `skip_grad_spikes` times the
  // median of the last 100 steps. Warns of spikes and of gradients that vanish. Call when the gradients of
  // the step are known. Throws Error where more than max_skipped_steps are skipped in a row.
  bool skips(const engine::ParameterStore& parameters, double loss, double norm, int64_t step);
  int64_t skipped() const { return skipped_; }

  std::string key() const override { return kKey; }
  Json values() const override;
  void load(const Json& values, std::span<const StateTensor> tensors = {}) override;

 private:
  double median() const;
  void look_for_vanishing(const engine::ParameterStore& parameters, double loss, double norm, int64_t step);

  double factor_;
  int64_t most_skipped_;
  std::vector<double> norms_;  // of the last steps that were not skipped; the next one replaces norms_[next_]
  int64_t next_ = 0, skipped_ = 0, skipped_in_a_row_ = 0, small_in_a_row_ = 0, dead_in_a_row_ = 0;
  bool warned_of_spikes_ = false, warned_of_vanishing_ = false;
};

// The gradient norm of each layer ("bert.encoder.layer.3", "bert.embeddings"), in the order of the
// parameters. Frozen parameters count nothing.
struct LayerNorm {
  std::string layer;
  double norm = 0;
};
std::vector<LayerNorm> layer_norms(const engine::ParameterStore& parameters);
// The highest layer whose gradient is below 1e-9 of the largest one's; null if there is none.
const LayerNorm* vanishing_layer(const std::vector<LayerNorm>& norms);

// The operation of a step that made NaN or infinity first, "" if none does when the step is repeated.
// Gradients are clobbered.
std::string why_not_finite(Trainer::Parts& parts, const StepBatches& batches, double terms, int64_t step);

// Kernels of --debug underflow_overflow for one step: null where the option is off.
class StepCheck {
 public:
  explicit StepCheck(const Trainer::Parts& parts);
  engine::FiniteCheck* get() { return check_ ? &*check_ : nullptr; }
  // Throws Error with the first operation that was not finite.
  void require_finite(int64_t step) const;

 private:
  std::optional<engine::FiniteCheck> check_;
};

}  // namespace graft::train
