#include "train/plan.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "base/error.h"
#include "base/log.h"
#include "models/weights.h"
#include "train/schedule.h"

namespace graft::train {
namespace {

int64_t ceil_of(double x) { return static_cast<int64_t>(std::ceil(x)); }

// A value below 1 is a ratio of all steps, as in the reference.
int64_t resolve(double steps, int64_t total) {
  return std::max<int64_t>(
      1, steps < 1 ? ceil_of(steps * static_cast<double>(total)) : static_cast<int64_t>(steps));
}

double steps_of(double epochs, double steps_per_epoch) {
  constexpr double kMost = 1e15;  // counts in doubles stay exact, and in 64 bits by far
  if (epochs * steps_per_epoch <= kMost) return epochs * steps_per_epoch;
  throw UsageError(fmt::format("--num_train_epochs {} makes {:.3g} steps; at most {:.0g} are counted", epochs,
                               epochs * steps_per_epoch, kMost));
}

}  // namespace

StepPlan plan_steps(int64_t batches_per_epoch, const TrainingArguments& a) {
  if (batches_per_epoch == 0) {
    const bool by_tokens = a.max_tokens_per_batch > 0;
    fail_with(fmt::format("use a smaller --{} or --dataloader_drop_last false",
                          by_tokens ? "max_tokens_per_batch" : "per_device_train_batch_size"),
              "the training data does not fill one batch of {}",
              by_tokens ? fmt::format("{} tokens", a.max_tokens_per_batch)
                        : std::to_string(a.per_device_train_batch_size));
  }
  StepPlan plan;
  const int64_t k = a.gradient_accumulation_steps;
  plan.steps_per_epoch = (batches_per_epoch + k - 1) / k;
  const double per_epoch = static_cast<double>(plan.steps_per_epoch);
  plan.total_steps = a.max_steps > 0 ? a.max_steps : ceil_of(steps_of(a.num_train_epochs, per_epoch));
  plan.num_epochs = static_cast<double>(plan.total_steps) / per_epoch;
  // warmup_ratio overrides warmup_steps, as in the reference.
  plan.warmup_steps = a.warmup_ratio       ? ceil_of(*a.warmup_ratio * static_cast<double>(plan.total_steps))
                      : a.warmup_steps < 1 ? ceil_of(a.warmup_steps * static_cast<double>(plan.total_steps))
                                           : static_cast<int64_t>(a.warmup_steps);
  plan.logging_steps = resolve(a.logging_steps, plan.total_steps);
  plan.eval_steps = resolve(a.eval_steps.value_or(a.logging_steps), plan.total_steps);
  plan.save_steps = resolve(a.save_steps, plan.total_steps);
  if (plan.warmup_steps > 0 && plan.warmup_steps >= plan.total_steps && !schedule_of(a).is_constant()) {
    log_warning("the warm-up of {} steps is as long as the run of {}: the learning rate never reaches {}",
                plan.warmup_steps, plan.total_steps, a.learning_rate);
  }
  const bool by_epoch = a.eval_strategy == "epoch";
  const double length = by_epoch ? plan.num_epochs : static_cast<double>(plan.total_steps);
  if (a.eval_strategy != "no" && a.eval_delay > length)
    log_warning("--eval_delay {} is longer than the run of {:.6g} {}: the only evaluation is that at its end",
                a.eval_delay, length, by_epoch ? "epochs" : "steps");
  return plan;
}

data::Sampler make_sampler(const tasks::Features& features, const TrainingArguments& a, int64_t ranks) {
  data::SamplerOptions options;
  options.sampling = data::parse_sampling(a.train_sampling_strategy);
  options.seed = a.data_seed.value_or(a.seed);
  options.batch_size = a.per_device_train_batch_size * ranks;
  options.drop_last = a.dataloader_drop_last;
  options.max_tokens = a.max_tokens_per_batch;
  options.processes = ranks;
  std::vector<int32_t> lengths;
  if (options.sampling == data::Sampling::group_by_length || options.max_tokens > 0) {
    lengths.reserve(static_cast<size_t>(features.size()));
    for (int64_t i = 0; i < features.size(); ++i) lengths.push_back(features.length(i));
  }
  return {features.size(), options, std::move(lengths)};
}

std::vector<std::vector<int64_t>> micro_batches(data::Sampler& sampler, int64_t epoch, int64_t window,
                                                int64_t accumulation_steps) {
  std::vector<std::vector<int64_t>> out;
  const int64_t end = std::min(sampler.num_batches(), (window + 1) * accumulation_steps);
  for (int64_t b = window * accumulation_steps; b < end; ++b) out.push_back(sampler.batch(epoch, b));
  return out;
}

bool is_due(const std::string& strategy, int64_t every, int64_t step, bool epoch_ends) {
  return strategy == "steps" ? step % every == 0 : strategy == "epoch" && epoch_ends;
}

bool evaluation_is_due(const TrainingArguments& a, const StepPlan& plan, int64_t step, double epoch,
                       bool epoch_ends) {
  if (!is_due(a.eval_strategy, plan.eval_steps, step, epoch_ends)) return false;
  return a.eval_delay <= (a.eval_strategy == "epoch" ? epoch : static_cast<double>(step));
}

bool save_is_due(const TrainingArguments& a, const StepPlan& plan, int64_t step, bool epoch_ends) {
  return is_due(a.save_strategy, plan.save_steps, step, epoch_ends) ||
         (a.save_strategy == "steps" && step == plan.total_steps);
}

void check_batch(const data::RaggedBatch& batch, const Model& model) {
  const int64_t V = model.state().network.encoder->word_embeddings()->rows();
  for (const std::vector<int32_t>* ids : {&batch.input_ids, &batch.decoder.input_ids}) {
    for (const int32_t id : *ids) {
      if (id >= 0 && id < V) continue;
      fail_with("the tokenizer does not belong to this checkpoint; use the one of its folder",
                "token id {} is outside the model's vocabulary of {}", id, V);
    }
  }
  const int32_t longest = std::max(batch.max_len, batch.decoder.max_len);
  if (model.max_positions() > 0 && longest > model.max_positions()) {
    fail_with(fmt::format("use --max_seq_length {} or less", model.max_positions()),
              "a sequence of {} tokens is longer than the model's {} positions", longest,
              model.max_positions());
  }
}

void check_finite(double loss, double grad_norm, int64_t step, models::State& state,
                  const std::function<std::string()>& diagnose) {
  if (std::isfinite(loss) && std::isfinite(grad_norm)) return;
  std::string where;
  const std::optional<models::NonFinite> bad = models::first_non_finite(state);
  if (bad) {
    where = fmt::format("; the parameter {} is not finite (value {} is {})", bad->parameter, bad->index,
                        bad->value);
  } else if (const std::string why = diagnose ? diagnose() : ""; !why.empty()) {
    where = "; " + why;
  }
  fail_with(!bad ? "lower --learning_rate, add --warmup_ratio 0.1, or keep --max_grad_norm 1.0"
                 : "the checkpoint itself is damaged, or an earlier step diverged: lower --learning_rate",
            "step {}: the loss is {} and the gradient norm {}{}; training stopped; existing checkpoints are "
            "unchanged",
            step + 1, loss, grad_norm, where);
}

void check_weights(const models::State& state, int64_t step) {
  const std::optional<models::NonFinite> bad = models::first_non_finite(state);
  if (!bad) return;
  fail_with("lower --learning_rate, add --warmup_ratio 0.1, or keep --max_grad_norm 1.0",
            "step {}: the parameter {} is not finite; nothing was saved, existing checkpoints are unchanged",
            step, bad->parameter);
}

}  // namespace graft::train
