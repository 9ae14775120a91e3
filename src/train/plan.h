// Splits a run into optimizer steps and plans the memory of a step.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "data/sampler.h"
#include "train/parts.h"

namespace graft::train {

struct StepPlan {
  int64_t steps_per_epoch = 0, total_steps = 0, warmup_steps = 0;
  int64_t logging_steps = 0, eval_steps = 0, save_steps = 0;  // ratios resolved
  double num_epochs = 0;
};

// Steps as the reference counts them; the last, partial window of an epoch is a step too.
StepPlan plan_steps(int64_t batches_per_epoch, const TrainingArguments& arguments);

// Its batches are those of all `ranks` together.
data::Sampler make_sampler(const tasks::Features& features, const TrainingArguments& arguments,
                           int64_t ranks = 1);

// The examples of optimizer step `window` of an epoch, batch by batch.
std::vector<std::vector<int64_t>> micro_batches(data::Sampler& sampler, int64_t epoch, int64_t window,
                                                int64_t accumulation_steps);
// Plans the step's memory for the longest examples, and the copy of a save in the background, and logs its
// size.
void plan_memory(Trainer::Parts& parts, uint64_t copy_for_saves = 0);
// Provides the memory of a training batch. Logs growth, for example for a batch with more masked tokens.
void provide_memory(Trainer::Parts& parts, const data::RaggedBatch& batch);

// Whether an action with this strategy is due after `step`.
bool is_due(const std::string& strategy, int64_t every, int64_t step, bool epoch_ends);
// The same of a checkpoint: with the strategy "steps" also after the last step, as in the reference.
bool save_is_due(const TrainingArguments& arguments, const StepPlan& plan, int64_t step, bool epoch_ends);

// The same for evaluation, which eval_delay puts off: by steps, or by epochs with eval_strategy epoch.
bool evaluation_is_due(const TrainingArguments& arguments, const StepPlan& plan, int64_t step, double epoch,
                       bool epoch_ends);

// Throws Error for an id outside the vocabulary and for a sequence longer than the model's positions.
void check_batch(const data::RaggedBatch& batch, const Model& model);
// Throws Error with a diagnosis if the loss or the gradient is not finite. If all weights are finite,
// `diagnose` finds the operation that overflows.
void check_finite(double loss, double grad_norm, int64_t step, models::State& state,
                  const std::function<std::string()>& diagnose = {});
// Throws Error with the first parameter that is not finite. Call before saving weights.
void check_weights(const models::State& state, int64_t step);

}  // namespace graft::train
