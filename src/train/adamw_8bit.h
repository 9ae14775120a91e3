// AdamW whose moments take 8 bits each (Dettmers et al. 2022), for large dense matrices; the state of small
// parameters and of embeddings stays in fp32, as in the reference (train/optimizer.cpp chooses).
#pragma once
#include "train/elementwise_optimizer.h"

namespace graft::train {

// Its state, of each parameter: the codes state1.NAME and state2.NAME and the scales of their blocks
// absmax1.NAME and absmax2.NAME (bitsandbytes' words).
class AdamW8bit final : public Optimizer {
 public:
  AdamW8bit(engine::ParameterStore& store, const UpdateRule& rule, ParameterFilter takes);

  void step(double lr, float grad_scale) override;
  void catch_up(engine::Parameter&, const int32_t*, int64_t) override {}
  void flush() override {}
  int64_t num_steps() const override { return steps_; }
  std::vector<StateTensor> save() override;
  void load(std::span<const StateTensor> state, int64_t steps) override;

  // Bytes of the state of n weights.
  static int64_t state_bytes(int64_t n);

 private:
  struct State {
    engine::Parameter* parameter;
    // Codes of both moments, then the scales of both.
    engine::FloatBuffer memory;
    uint8_t* codes(int moment) const;
    float* scales(int moment) const;
  };

  engine::ParameterStore& store_;
  const engine::Kernels& kernels_;
  UpdateRule rule_;
  ParameterFilter takes_;
  std::vector<State> states_;
  std::vector<engine::HostRead> saved_;
  int64_t steps_ = 0;
};

}  // namespace graft::train
