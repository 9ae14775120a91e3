#include "train/optimizer_state.h"

namespace graft::train {

void check_step(const engine::ParameterStore& store, const ParameterFilter& takes, int64_t known) {
  if (!store.has_grads()) fail("Optimizer::step: the parameters have no gradients (allocate_grads)");
  int64_t trained = 0;
  for (const engine::Parameter& p : store.parameters()) trained += p.trainable && takes(p) ? 1 : 0;
  if (known != trained)
    fail(
        "Optimizer::step: {} parameters are trained and {} have a state: set `trainable` before the "
        "optimizer "
        "is made",
        trained, known);
}

GivenState::GivenState(const std::vector<StateTensor>& expected, std::span<const StateTensor> given) {
  for (const StateTensor& t : given) by_name_.emplace(t.name, &t);
  for (const StateTensor& t : expected) {
    const auto it = by_name_.find(t.name);
    if (it == by_name_.end()) fail("the optimizer's state lacks {}", t.name);
    const StateTensor& found = *it->second;
    if (found.shape != t.shape)
      fail("the optimizer's state: {} has another shape than its parameter", t.name);
    if (found.dtype != t.dtype)
      fail("the optimizer's state: {} is {}, not {}", t.name, dtype_name(found.dtype), dtype_name(t.dtype));
  }
  if (given.size() != expected.size())
    fail("the optimizer's state has {} tensors; the trained parameters have {}", given.size(),
         expected.size());
}

}  // namespace graft::train
