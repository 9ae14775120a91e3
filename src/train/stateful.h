// What a run carries over steps beside weights and optimizer: averages of weights, the state of early
// stopping, statistics. Checkpoints save and restore every Stateful of the TrainState.
#pragma once
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "train/state_tensor.h"

namespace graft::train {

class Stateful {
 public:
  virtual ~Stateful() = default;
  // Names it in checkpoints; unique in a run.
  virtual std::string key() const = 0;
  // The small values, for trainer_state.json. JSON has no NaN and no infinity: they become null.
  virtual Json values() const { return Json::object(); }
  // The large ones. The views are valid until the next step; names are unique within this object.
  virtual std::vector<StateTensor> tensors() { return {}; }
  // Continues from what both returned at a former step. Throws Error if they do not fit; the object is then
  // unchanged.
  virtual void load(const Json& values, std::span<const StateTensor> tensors) = 0;
};

// The object of this key, or what `make()` returns, which is added. Trainer::train calls it before the first
// step for each option that carries state: a run that continues in memory finds the object of its first part.
template <class S, class Make>
S& carried(std::vector<std::unique_ptr<Stateful>>& all, const std::string& key, Make make) {
  for (const std::unique_ptr<Stateful>& one : all)
    if (one->key() == key) return static_cast<S&>(*one);
  all.push_back(make());
  return static_cast<S&>(*all.back());
}

}  // namespace graft::train
