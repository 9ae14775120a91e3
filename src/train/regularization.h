// What regularises a run beside its loss: gradual unfreezing, mixout, averages of the weights.
#pragma once
#include "models/state.h"
#include "train/mixout.h"
#include "train/plan.h"
#include "train/train_state.h"
#include "train/weight_average.h"

namespace graft::train {

class Regularization {
 public:
  // Adds what the run carries over steps to `at`. Makes all parameters trainable again when it ends.
  Regularization(models::State& state, TrainState& at, const TrainingArguments& arguments,
                 const StepPlan& plan);
  ~Regularization();
  Regularization(const Regularization&) = delete;
  Regularization& operator=(const Regularization&) = delete;

  // Before the passes of a step, and after them (also of a step that was stopped: the destructor). Steps that
  // were skipped are none of the optimizer's.
  class Pass {
   public:
    explicit Pass(Mixout* mixout) : mixout_(mixout) {}
    ~Pass() { end(); }
    Pass(const Pass&) = delete;
    Pass& operator=(const Pass&) = delete;
    void end() {
      if (mixout_) mixout_->restore();
    }

   private:
    Mixout* mixout_;
  };
  Pass begin_pass(int64_t step, int64_t optimizer_steps);

  // After a step: `step` steps are done.
  void after_step(Optimizer& optimizer, int64_t step, bool epoch_ends, bool evaluates);
  // The learning rate of a step whose schedule has `rate`.
  double rate(int64_t step, double rate) const { return swa_lr_ > 0 && step >= swa_start_ ? swa_lr_ : rate; }
  WeightAverage* average() const { return average_; }
  // The weights become the average, which the log says.
  void finish();

 private:
  uint64_t seed_;
  double swa_lr_;
  int64_t swa_start_ = 0;
  std::vector<engine::Parameter*> gradual_;  // whose training begins later
  Mixout* mixout_ = nullptr;
  WeightAverage* average_ = nullptr;
};

// Sets Parameter::frozen_steps for --gradual_unfreezing (Howard & Ruder 2018, ULMFiT): the head is trained
// from the first epoch on, and in each later one that many more layers, from the top; the embeddings come
// last.
void plan_unfreezing(engine::ParameterStore& store, const TrainingArguments& arguments,
                     int64_t steps_per_epoch);

}  // namespace graft::train
