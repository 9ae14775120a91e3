// Muon (Jordan et al. 2024; Liu et al. 2025, "Muon is Scalable for LLM Training"), as torch.optim.Muon: the
// momentum of a hidden matrix, made orthogonal by Newton and Schulz' iteration in bf16. Everything else is
// trained by another optimizer (train/optimizer.cpp chooses).
#pragma once
#include "train/elementwise_optimizer.h"

namespace graft::train {

struct MuonOptions {
  double momentum = 0.95, weight_decay = 0;
  bool nesterov = true;
  int64_t ns_steps = 5;
  // Factor of the learning rate for a matrix [out, in]: match_rms_adamw has 0.2 sqrt(max(out, in)), which
  // suits the rates of AdamW; original sqrt(max(1, out / in)).
  bool match_rms_adamw = true;
};

// Its state: momentum_buffer.NAME of each matrix.
class Muon final : public Optimizer {
 public:
  Muon(engine::ParameterStore& store, const MuonOptions& options, ParameterFilter takes);

  void step(double lr, float grad_scale) override;
  void catch_up(engine::Parameter&, const int32_t*, int64_t) override {}
  void flush() override {}
  int64_t num_steps() const override { return steps_; }
  std::vector<StateTensor> save() override;
  void load(std::span<const StateTensor> state, int64_t steps) override;

  // Bytes that the iteration takes for a matrix, beside its state.
  static int64_t scratch_bytes(const engine::Parameter& p);

 private:
  struct State {
    engine::Parameter* parameter;
    std::vector<float> momentum;
  };
  void update(State& state, double lr, float grad_scale);
  void orthogonalize(int64_t rows, int64_t cols);

  engine::ParameterStore& store_;
  const engine::Kernels& kernels_;
  MuonOptions options_;
  ParameterFilter takes_;
  std::vector<State> states_;
  engine::FloatBuffer x_, next_, gram_, gram_update_;  // for the largest matrix
  int64_t steps_ = 0;
};

}  // namespace graft::train
