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

struct TrainState {
  int64_t step = 0;  // optimizer steps done: decides epoch, examples, masks and dropout of the next one
  double epoch = 0;  // the same in epochs
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
};

// Makes the optimizer of a run that begins. Throws Error if `state` is a later one without its moments.
void begin_or_continue(TrainState& state, engine::ParameterStore& parameters, const TrainingArguments& args);

}  // namespace graft::train
