// reduce_lr_on_plateau: the learning rate falls when the metric of the evaluations stops improving, as
// torch.optim.lr_scheduler.ReduceLROnPlateau.
#pragma once
#include <cstdint>

#include "train/stateful.h"

namespace graft::train {

struct PlateauSettings {
  bool larger_is_better = false;  // mode max
  double factor = 0.1;
  int64_t patience = 10;  // evaluations without improvement before the rate falls
  double threshold = 1e-4;
  bool relative = true;  // threshold_mode rel: a share of the best value
  int64_t cooldown = 0;  // evaluations after a fall that do not count
  double min_lr = 0, eps = 1e-8;
};

class Plateau final : public Stateful {
 public:
  static constexpr const char* kKey = "reduce_lr_on_plateau";

  Plateau(const PlateauSettings& settings, double learning_rate);

  // Takes the metric of an evaluation. Returns true if the rate fell. NaN is no improvement.
  bool update(double metric);
  double rate() const { return rate_; }

  std::string key() const override { return kKey; }
  Json values() const override;
  void load(const Json& values, std::span<const StateTensor> tensors) override;

 private:
  bool improves(double metric) const;

  PlateauSettings settings_;
  double rate_, best_;
  int64_t bad_ = 0, cooldown_left_ = 0;
};

}  // namespace graft::train
