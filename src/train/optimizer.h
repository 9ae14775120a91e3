// What moves the weights: one interface over the optimizers of --optim.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/parameters.h"
#include "graft/trainer.h"
#include "train/state_tensor.h"

namespace graft::train {

// A parameter's `trainable` is read when the optimizer is made: frozen ones have no state and may not be
// trained later. `lr_scale` and `no_decay` are read at each step; those of a row-sparse parameter stay as
// they are between two flushes, because missed steps are replayed with them.
class Optimizer {
 public:
  Optimizer() = default;
  virtual ~Optimizer() = default;
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;

  // One step with learning rate `lr`; gradients are multiplied by `grad_scale` (clipping) first. A parameter
  // that no backward pass since clear_grads reached has the gradient zero.
  virtual void step(double lr, float grad_scale) = 0;
  // Brings rows of a row-sparse parameter up to date before a forward pass reads them.
  virtual void catch_up(engine::Parameter& parameter, const int32_t* ids, int64_t n) = 0;
  // Brings every row up to date: before saving and evaluating.
  virtual void flush() = 0;
  virtual int64_t num_steps() const = 0;

  // Brings every row up to date and returns the state, whose tensors are views valid until the next step.
  // With num_steps() they are the whole state.
  virtual std::vector<StateTensor> save() = 0;
  // Continues a training of `steps` steps with its state. The order of the tensors does not matter. Throws
  // Error if one is missing, unknown or of another shape or type; the optimizer is then unchanged.
  virtual void load(std::span<const StateTensor> state, int64_t steps) = 0;
};

// The optimizer of a run that begins.
std::unique_ptr<Optimizer> make_optimizer(engine::ParameterStore& store, const TrainingArguments& arguments);

// L2 norm of all gradients, each parameter in order (torch.nn.utils.clip_grad_norm_'s total norm).
double grad_norm(engine::ParameterStore& store);

}  // namespace graft::train
