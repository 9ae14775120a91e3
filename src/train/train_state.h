// Where a run stands between two optimizer steps. With the weights it is all that the next step depends on.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "base/json.h"
#include "graft/trainer.h"
#include "train/optimizer.h"
#include "train/stateful.h"

namespace graft::train {

struct StepPlan;

struct TrainState {
  int64_t step = 0;  // optimizer steps done: decides epoch, examples, masks and dropout of the next one
  int64_t skipped_steps = 0;  // of these, steps that the optimizer left out
  double epoch = 0;           // the same in epochs
  // Where the data began that the steps count through: 0 but in a run that --ignore_data_skip resumed.
  int64_t data_step = 0, data_epoch = 0;
  // Null before the first step. To continue a run: make_optimizer over the model's parameters, after
  // Optimizer::load.
  std::unique_ptr<Optimizer> optimizer{};

  // For the log: sums over all steps, those since its last line and those of the epoch.
  double total_loss = 0, window_loss = 0, epoch_loss = 0;
  int64_t logged_at = 0, epoch_steps = 0;
  int64_t evaluated_at = -1;  // step of the last evaluation
  LogEntry last_metrics{};    // of that evaluation
  int64_t num_input_tokens_seen = 0;
  Json history = Json::array();
  std::vector<int64_t> checkpoints{};                 // steps that the run saved and kept
  std::vector<std::unique_ptr<Stateful>> stateful{};  // all else that is carried over steps

  // The best evaluation so far, where one is looked for; -1 = none yet.
  double best_metric = 0;
  int64_t best_step = -1;
  int64_t evaluations_without_gain = 0;  // of early stopping
};

// Where the data stand: the epoch, and the optimizer step within it that is next.
struct DataCursor {
  int64_t epoch = 0, window = 0;
};
DataCursor data_cursor(const TrainState& state, const StepPlan& plan);
// Whether the step that was done last ends an epoch or the run.
bool epoch_ends(const TrainState& state, const StepPlan& plan);
// Whether the last step should be followed by an evaluation that an interruption prevented.
bool evaluation_is_missing(const TrainState& state, const StepPlan& plan, const TrainingArguments& arguments);

// Makes the optimizer of a run that begins. Throws Error if `state` is a later one without its moments.
void begin_or_continue(TrainState& state, engine::ParameterStore& parameters, const TrainingArguments& args);

}  // namespace graft::train
