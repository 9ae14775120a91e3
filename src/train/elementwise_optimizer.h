// Optimizers that move each weight by its own gradient and state (AdamW, SGD, Lion, RMSprop, Adagrad): dense
// parameters in one sweep, row-sparse ones by the rows that were read. A row that was not read is updated
// when it is needed: its missed steps are replayed, with the bits of a dense sweep (docs/design.md, idea 2).
#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "engine/kernels.h"
#include "engine/parameters.h"
#include "train/optimizer.h"

namespace graft::train {

struct UpdateRule {
  engine::UpdateKind kind = engine::UpdateKind::adamw;
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weight_decay = 0;
  double momentum = 0, dampening = 0, lr_decay = 0;  // sgd and rmsprop; sgd; adagrad
  bool nesterov = false;                             // sgd
  bool lazy_rows = true;  // false: sweep row-sparse parameters densely (the twin in the tests)

  // What it keeps of each weight, in torch.optim's words; null where it keeps less.
  const char* first_state() const;
  const char* second_state() const;
};

// Whether an optimizer takes this trained parameter.
using ParameterFilter = std::function<bool(const engine::Parameter&)>;

// Its state: STATE.NAME of each parameter, in its shape, such as exp_avg.NAME and exp_avg_sq.NAME of AdamW.
class ElementwiseOptimizer final : public Optimizer {
 public:
  ElementwiseOptimizer(
      engine::ParameterStore& store, const UpdateRule& rule,
      ParameterFilter takes = [](const engine::Parameter&) { return true; });

  void step(double lr, float grad_scale) override;
  void catch_up(engine::Parameter& parameter, const int32_t* ids, int64_t n) override;
  void flush() override;
  int64_t num_steps() const override { return static_cast<int64_t>(lr_.size()); }
  std::vector<StateTensor> save() override;
  void load(std::span<const StateTensor> state, int64_t steps) override;

  // Floats of both states together.
  int64_t num_moments() const { return m_.size() + v_.size(); }

 private:
  struct State {  // of a trained parameter
    engine::Parameter* parameter;
    int64_t offset = 0;              // floats in m_ and v_
    std::vector<int32_t> last_step;  // row-sparse: [rows] steps applied so far
    std::vector<uint8_t> touched;    // row-sparse: [rows] was read in a step
  };
  engine::UpdateArgs args_at(int64_t step, const State& state) const;
  void replay(State& state, int64_t row, int64_t to_step);
  void step_rows(State& state, const engine::UpdateArgs& args);
  void set_states(State& state, const float* first, const float* second);
  State* find(const engine::Parameter& parameter);

  engine::ParameterStore& store_;
  const engine::Kernels& kernels_;  // of the store's device
  UpdateRule rule_;
  ParameterFilter takes_;
  std::vector<State> states_;            // in the order of the store
  engine::FloatBuffer m_, v_;            // of first_state and second_state
  std::vector<engine::HostRead> saved_;  // what save() returned views of
  std::vector<double> lr_;               // of every step, for the replay
};

}  // namespace graft::train
