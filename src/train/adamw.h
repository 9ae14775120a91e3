// AdamW over a parameter store: dense parameters in one sweep, row-sparse ones by the rows that were read. A
// row that was not read is updated when it is needed: its missed steps are replayed, with the bits of a dense
// sweep (docs/design.md, idea 2).
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/kernels.h"
#include "engine/parameters.h"

namespace graft::train {

struct AdamWOptions {
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weight_decay = 0;
  bool lazy_rows = true;  // false: sweep row-sparse parameters densely (the twin in the tests)
};

// A moment of a parameter: exp_avg.NAME or exp_avg_sq.NAME (torch.optim.AdamW's words), of its shape.
struct MomentTensor {
  std::string name;
  std::vector<int64_t> shape;
  const float* data = nullptr;
};

// A parameter's `trainable` is read when the optimizer is made: frozen ones have no moments and may not be
// trained later. `lr_scale` and `no_decay` are read at each step; those of a row-sparse parameter stay as
// they are between two flushes, because missed steps are replayed with them.
class AdamW {
 public:
  AdamW(engine::ParameterStore& store, const AdamWOptions& options);

  // L2 norm of all gradients, each parameter in order (torch.nn.utils.clip_grad_norm_'s total norm).
  double grad_norm();
  // One step with learning rate `lr`; gradients are multiplied by `grad_scale` (clipping) first. A parameter
  // that no backward pass since clear_grads reached has the gradient zero.
  void step(double lr, float grad_scale);
  // Brings rows of a row-sparse parameter up to date before a forward pass reads them.
  void catch_up(engine::Parameter& parameter, const int32_t* ids, int64_t n);
  // Brings every row up to date: before saving and evaluating.
  void flush();
  int64_t num_steps() const { return static_cast<int64_t>(lr_.size()); }
  // Floats of both moments together.
  int64_t num_moments() const { return m_.size() + v_.size(); }

  // Brings every row up to date and returns the moments, which are views valid until the next step. With
  // num_steps() they are the whole state.
  std::vector<MomentTensor> save();
  // Continues a training of `steps` steps with its moments. The order of the tensors does not matter. Throws
  // Error if one is missing, unknown or of another shape; the state is then unchanged.
  void load(std::span<const MomentTensor> moments, int64_t steps);

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
