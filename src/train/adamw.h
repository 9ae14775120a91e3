// AdamW over a parameter store: dense parameters in one sweep, row-sparse ones by the rows that were read. A
// row that was not read is updated when it is needed: its missed steps are replayed, with the bits of a dense
// sweep (docs/design.md, idea 2).
#pragma once
#include <cstdint>
#include <vector>

#include "engine/kernels.h"
#include "engine/parameters.h"

namespace graft::train {

struct AdamWOptions {
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weight_decay = 0;
  bool lazy_rows = true;  // false: sweep row-sparse parameters densely (the twin in the tests)
};

class AdamW {
 public:
  AdamW(engine::ParameterStore& store, const engine::Kernels& kernels, const AdamWOptions& options);

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

 private:
  struct Rows {  // state of a row-sparse parameter
    engine::Parameter* parameter;
    std::vector<int32_t> last_step;  // [rows] steps applied so far
    std::vector<uint8_t> touched;    // [rows] has moments
  };
  engine::AdamWArgs args_at(int64_t step, double weight_decay) const;
  void replay(Rows& rows, int64_t row, int64_t to_step);
  Rows* find(const engine::Parameter& parameter);

  engine::ParameterStore& store_;
  const engine::Kernels& kernels_;
  AdamWOptions options_;
  engine::FloatBuffer m_, v_;
  std::vector<double> lr_;  // of every step, for the replay
  std::vector<Rows> sparse_;
};

}  // namespace graft::train
