// AdamW over a parameter store: dense parameters in one sweep, row-sparse ones by the rows that were read. A
// row that was not read is updated when it is needed: its missed steps are replayed, with the bits of a dense
// sweep (docs/design.md, idea 2).
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "engine/kernels.h"
#include "engine/parameters.h"
#include "train/optimizer.h"

namespace graft::train {

struct AdamWOptions {
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weight_decay = 0;
  bool lazy_rows = true;  // false: sweep row-sparse parameters densely (the twin in the tests)
};

// Its state: exp_avg.NAME and exp_avg_sq.NAME (torch.optim.AdamW's words) of each trained parameter, in its
// shape.
class AdamW final : public Optimizer {
 public:
  AdamW(engine::ParameterStore& store, const AdamWOptions& options);

  void step(double lr, float grad_scale) override;
  void catch_up(engine::Parameter& parameter, const int32_t* ids, int64_t n) override;
  void flush() override;
  int64_t num_steps() const override { return static_cast<int64_t>(lr_.size()); }
  std::vector<StateTensor> save() override;
  void load(std::span<const StateTensor> moments, int64_t steps) override;

  // Floats of both moments together.
  int64_t num_moments() const { return m_.size() + v_.size(); }

 private:
  struct State {  // of a trained parameter
    engine::Parameter* parameter;
    int64_t offset = 0;              // floats in both moments
    std::vector<int32_t> last_step;  // row-sparse: [rows] steps applied so far
    std::vector<uint8_t> touched;    // row-sparse: [rows] has moments
  };
  engine::AdamWArgs args_at(int64_t step, const engine::Parameter& parameter) const;
  void replay(State& state, int64_t row, int64_t to_step);
  void step_rows(State& state, const engine::AdamWArgs& args);
  void set_moments(State& state, const float* exp_avg, const float* exp_avg_sq);
  State* find(const engine::Parameter& parameter);
  void check_trained() const;

  engine::ParameterStore& store_;
  const engine::Kernels& kernels_;  // of the store's device
  AdamWOptions options_;
  std::vector<State> states_;  // in the order of the store
  engine::FloatBuffer m_, v_;
  std::vector<engine::HostRead> saved_;  // what save() returned views of
  std::vector<double> lr_;               // of every step, for the replay
};

}  // namespace graft::train
