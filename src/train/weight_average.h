// Averages of the weights over a run: evaluations read them, and the saved model has them.
#pragma once
#include <vector>

#include "engine/parameters.h"
#include "graft/trainer.h"
#include "train/stateful.h"

namespace graft::train {

enum class AverageKind : uint8_t {
  none,
  ema,  // exponential moving average, updated after each step (Polyak & Juditsky 1992; torch's AveragedModel)
  swa,  // mean of the weights after each epoch from a start on (Izmailov et al. 2018)
  last,  // mean of the weights at the last N evaluations, or ends of epochs (Vaswani et al. 2017)
};
// Throws UsageError for more than one of them.
AverageKind average_kind(const TrainingArguments& arguments);
// Bytes of its copies of the weights: one for each place of AverageKind::last, unless no run has more places
// (evaluations at a ratio of all steps). A running mean then needs one.
int64_t average_bytes(const engine::ParameterStore& store, const TrainingArguments& arguments);

class WeightAverage final : public Stateful {
 public:
  static constexpr const char* kKey = "weight_average";

  // Of the trained parameters. `swa_start`: the first step whose weights count.
  WeightAverage(engine::ParameterStore& store, const TrainingArguments& arguments, int64_t swa_start);

  // Whether the weights after `step` count. Row-sparse parameters must be up to date then.
  bool counts(int64_t step, bool epoch_ends, bool evaluated) const;
  void add();
  int64_t num_added() const { return added_; }
  const char* unit() const;  // what was added: "steps"

  // Exchanges weights and average; nothing before the first add().
  void swap();
  bool swapped() const { return swapped_; }

  std::string key() const override { return kKey; }
  Json values() const override;
  // The average; while swapped, as during a save, the weights that training continues with, because the
  // checkpoint's model is the average then.
  std::vector<StateTensor> tensors() override;
  // Call when the store has the weights of the checkpoint's model.
  void load(const Json& values, std::span<const StateTensor> tensors) override;

 private:
  struct Averaged {
    engine::Parameter* parameter;
    std::vector<float> mean;               // or the weights, while swapped
    std::vector<std::vector<float>> last;  // of AverageKind::last, the oldest first
  };
  engine::ParameterStore& store_;
  AverageKind kind_;
  double decay_;
  int64_t window_, swa_start_, added_ = 0;
  bool at_evaluations_, swapped_ = false;
  bool keeps_last_;  // weights leave the average of AverageKind::last
  std::vector<Averaged> averaged_;
};

// During its lifetime the weights are the average; null: nothing happens.
class AveragedWeights {
 public:
  explicit AveragedWeights(WeightAverage* average) : average_(average) {
    if (average_) average_->swap();
  }
  ~AveragedWeights() {
    if (average_) average_->swap();
  }
  AveragedWeights(const AveragedWeights&) = delete;
  AveragedWeights& operator=(const AveragedWeights&) = delete;

 private:
  WeightAverage* average_;
};

}  // namespace graft::train
