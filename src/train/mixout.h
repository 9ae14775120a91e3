// Mixout (Lee et al. 2020, "Mixout: Effective Regularization to Finetune Large-scale Pretrained Language
// Models"): in each step a share of the weights of the layers' matrices is that of the pretrained model.
#pragma once
#include <vector>

#include "engine/parameters.h"
#include "train/stateful.h"

namespace graft::train {

class Mixout final : public Stateful {
 public:
  static constexpr const char* kKey = "mixout";

  // `p`: the share, in (0, 1). The pretrained weights are those of now.
  Mixout(engine::ParameterStore& store, double p);

  // Replaces the weights by (mask w0 + (1 - mask) w - p w0) / (1 - p) for the passes of a step. The mask is a
  // function of seed, step and name.
  void mix(uint64_t seed, uint64_t step);
  // Puts the weights back and multiplies their gradients by (1 - mask) / (1 - p). Nothing without mix().
  void restore();

  // What it keeps in memory: the pretrained weights and, during a step, the weights.
  static int64_t state_bytes(const engine::ParameterStore& store);

  std::string key() const override { return kKey; }
  std::vector<StateTensor> tensors() override;  // the pretrained weights
  void load(const Json& values, std::span<const StateTensor> tensors) override;

 private:
  struct Mixed {
    engine::Parameter* parameter;
    std::vector<float> pretrained, weights;
  };
  engine::ParameterStore& store_;
  double p_;
  std::vector<Mixed> mixed_;
  uint64_t seed_ = 0, step_ = 0;
  bool active_ = false;
};

// The matrices of the layers' linear layers.
bool is_hidden_matrix(const engine::Parameter& p);

}  // namespace graft::train
