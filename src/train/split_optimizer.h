// Several optimizers that share the parameters of a store.
#pragma once
#include <memory>
#include <vector>

#include "train/optimizer.h"

namespace graft::train {

class SplitOptimizer final : public Optimizer {
 public:
  // Each parameter belongs to one part; there is at least one.
  explicit SplitOptimizer(std::vector<std::unique_ptr<Optimizer>> parts) : parts_(std::move(parts)) {}

  void step(double lr, float grad_scale) override;
  void catch_up(engine::Parameter& parameter, const int32_t* ids, int64_t n) override;
  void flush() override;
  int64_t num_steps() const override { return parts_.front()->num_steps(); }
  std::vector<StateTensor> save() override;
  void load(std::span<const StateTensor> state, int64_t steps) override;

 private:
  std::vector<std::unique_ptr<Optimizer>> parts_;
};

}  // namespace graft::train
