// What the optimizers share: their settings for a parameter, and the check of a state that is loaded.
#pragma once
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "train/elementwise_optimizer.h"

namespace graft::train {

// The weight decay of a parameter where the optimizer's is `weight_decay`.
inline double decay_of(const engine::Parameter& p, double weight_decay) {
  return p.weight_decay ? *p.weight_decay : p.no_decay ? 0.0 : weight_decay;
}

// Throws Error if there are no gradients, or if another number of parameters is trained than the `known` ones
// that have a state: one that was frozen when the optimizer was made has none.
void check_step(const engine::ParameterStore& store, const ParameterFilter& takes, int64_t known);

// A state that is loaded. Throws Error if it is not that of `expected`: a tensor is missing, unknown, or of
// another shape or type.
class GivenState {
 public:
  GivenState(const std::vector<StateTensor>& expected, std::span<const StateTensor> given);
  // The numbers of STATE.NAME; null where `state` is.
  template <class T>
  const T* find(const char* state, const engine::Parameter& parameter) const {
    return state ? static_cast<const T*>(by_name_.at(fmt::format("{}.{}", state, parameter.name))->data)
                 : nullptr;
  }

 private:
  std::map<std::string, const StateTensor*> by_name_;
};

}  // namespace graft::train
