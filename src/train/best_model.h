// The best evaluation of a run: which metric decides, whether one is an improvement, early stopping.
#pragma once
#include <filesystem>
#include <string>

#include "train/parts.h"
#include "train/train_state.h"

namespace graft::train {

class BestModel {
 public:
  // `state` holds the best evaluation so far.
  BestModel(const TrainingArguments& arguments, TrainState& state);

  // Compares the evaluation of this step with the best one, as the reference does. Returns true for a new
  // best. Throws Error that lists the metrics if there is none of this name. Empty: no evaluation was done.
  bool improves(const LogEntry& metrics);
  // Early stopping: as many evaluations without a gain as its patience.
  bool out_of_patience() const;
  void explain_stop() const;  // logs it
  // "eval_loss"; empty if the best is not looked for.
  const std::string& metric() const { return metric_; }
  // The evaluation of the best step, from the log.
  LogEntry best_metrics() const;
  int64_t best_step() const { return state_.best_step; }

 private:
  const TrainingArguments& args_;
  TrainState& state_;
  std::string metric_;
  bool greater_is_better_ = false;
};

// --load_best_model_at_end: takes the weights of best/, unless the model is that one already. Returns whether
// the model is the best one. A best/ that is damaged or of another step is named in a warning.
bool load_best(Trainer::Parts& parts, const BestModel& best);

// A run that continues from the checkpoint `resumed` needs the model of its best evaluation in best/. If that
// is missing, damaged or of another step, it is copied from the folder of the run that was resumed; where
// that lacks it as well, a warning says so. Rank 0 alone looks.
void provide_best(const Trainer::Parts& parts, const TrainState& state, const std::filesystem::path& resumed);

}  // namespace graft::train
