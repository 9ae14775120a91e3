// Adafactor (Shazeer & Stern 2018), as the reference's with the Trainer's settings scale_parameter=False,
// relative_step=False: the second moment of a matrix is the product of a vector for its rows and one for its
// columns.
#pragma once
#include "train/elementwise_optimizer.h"

namespace graft::train {

// Its state: exp_avg_sq_row.NAME [rows] and exp_avg_sq_col.NAME [cols] of a matrix, exp_avg_sq.NAME of a
// vector (the reference's words).
class Adafactor final : public Optimizer {
 public:
  Adafactor(engine::ParameterStore& store, double weight_decay);

  void step(double lr, float grad_scale) override;
  void catch_up(engine::Parameter&, const int32_t*, int64_t) override {}
  void flush() override {}
  int64_t num_steps() const override { return steps_; }
  std::vector<StateTensor> save() override;
  void load(std::span<const StateTensor> state, int64_t steps) override;

  static int64_t state_bytes(const engine::Parameter& p);

 private:
  struct State {
    engine::Parameter* parameter;
    std::vector<float> row, col;  // of a matrix; of a vector `col` alone, one number each
  };
  struct Gradient;  // rows of a gradient on the host
  void update(State& state, double lr, float grad_scale);

  engine::ParameterStore& store_;
  double weight_decay_;
  std::vector<State> states_;
  int64_t steps_ = 0;
};

}  // namespace graft::train
