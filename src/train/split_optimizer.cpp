#include "train/split_optimizer.h"

#include <algorithm>

#include "train/optimizer_state.h"

namespace graft::train {

void SplitOptimizer::step(double lr, float grad_scale) {
  for (const auto& part : parts_) part->step(lr, grad_scale);
}

void SplitOptimizer::catch_up(engine::Parameter& parameter, const int32_t* ids, int64_t n) {
  for (const auto& part : parts_) part->catch_up(parameter, ids, n);
}

void SplitOptimizer::flush() {
  for (const auto& part : parts_) part->flush();
}

std::vector<StateTensor> SplitOptimizer::save() {
  std::vector<StateTensor> all;
  for (const auto& part : parts_)
    for (StateTensor& t : part->save()) all.push_back(std::move(t));
  return all;
}

void SplitOptimizer::load(std::span<const StateTensor> state, int64_t steps) {
  const GivenState whole(save(), state);  // throws before a part is changed
  for (const auto& part : parts_) {
    std::vector<StateTensor> own;
    for (const StateTensor& t : part->save()) {
      const auto it = std::find_if(state.begin(), state.end(),
                                   [&](const StateTensor& given) { return given.name == t.name; });
      own.push_back(*it);
    }
    part->load(own, steps);
  }
}

}  // namespace graft::train
