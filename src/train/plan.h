// How a run is cut into optimizer steps, and what one step needs.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "data/sampler.h"
#include "train/adamw.h"
#include "train/parts.h"

namespace graft::train {

struct StepPlan {
  int64_t steps_per_epoch = 0, total_steps = 0, warmup_steps = 0;
  int64_t logging_steps = 0, eval_steps = 0, save_steps = 0;  // ratios resolved
  double num_epochs = 0;
};

// Steps as the reference counts them; the last, partial window of an epoch is a step too.
StepPlan plan_steps(int64_t batches_per_epoch, const TrainingArguments& arguments);

data::Sampler make_sampler(const tasks::Features& features, const TrainingArguments& arguments);
AdamWOptions optimizer_options(const TrainingArguments& arguments);

// The examples of optimizer step `window` of an epoch, batch by batch.
std::vector<std::vector<int64_t>> micro_batches(data::Sampler& sampler, int64_t epoch, int64_t window,
                                                int64_t accumulation_steps);
// Terms of the loss over all batches of a step.
double loss_terms(const tasks::Task& task, const tasks::Features& features,
                  const std::vector<std::vector<int64_t>>& batches, int64_t epoch);

// Plans the step's memory with the longest examples there are, and says how much it is.
void plan_memory(Trainer::Parts& parts);
// Memory for a batch of training; says so when it must grow, as a batch with more masked tokens makes it.
void provide_memory(Trainer::Parts& parts, const data::RaggedBatch& batch);

// Is something with this strategy due after `step`?
bool is_due(const std::string& strategy, int64_t every, int64_t step, bool epoch_ends);

// Error when an id lies outside the vocabulary or a sequence is longer than the positions.
void check_batch(const data::RaggedBatch& batch, const Model& model);
// Error with a diagnosis when the loss or the gradient is not finite.
// `diagnose` is asked where all weights are finite: the operation that overflows.
void check_finite(double loss, double grad_norm, int64_t step, models::State& state,
                  const std::function<std::string()>& diagnose = {});
// Error naming the first parameter that is not finite: before weights are saved.
void check_weights(const models::State& state, int64_t step);

}  // namespace graft::train
