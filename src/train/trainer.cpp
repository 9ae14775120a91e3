#include "graft/trainer.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "data/sampler.h"
#include "train/adamw.h"
#include "train/evaluation.h"
#include "train/output.h"
#include "train/parts.h"
#include "train/plan.h"
#include "train/schedule.h"

namespace graft {

using train::StepPlan;

// The loop, whole: batches, forward, loss, backward, clip, step, schedule, log, evaluate, save.
TrainResult Trainer::train() try {
  Parts& p = *parts_;
  const train::StopRequest stop(p);
  const TrainingArguments& args = p.arguments;
  models::State& state = p.model.state();
  if (!p.features.train || p.features.train->size() == 0) fail("there is nothing to train on");
  train::prepare_output(args.output_dir);
  train::look_at_earlier_checkpoints(args.output_dir);
  data::Sampler sampler = train::make_sampler(*p.features.train, args);
  const StepPlan plan = train::plan_steps(sampler.num_batches(), args);
  const train::Schedule schedule = train::parse_schedule(args.lr_scheduler_type);
  state.parameters.allocate_grads();
  train::AdamW optimizer(state.parameters, engine::cpu_kernels(), train::optimizer_options(args));
  train::plan_memory(p);

  train::RunLog log(p, plan);
  if (args.eval_on_start) log.evaluation(train::evaluate_parts(p, p.features.eval.get(), "eval_"), 0);
  data::RaggedBatch batch;
  int64_t step = 0;
  TrainResult result;
  for (int64_t epoch = 0; step < plan.total_steps && !p.stop; ++epoch) {
    log.begin_epoch();
    for (int64_t window = 0; window < plan.steps_per_epoch && step < plan.total_steps && !p.stop; ++window) {
      // The examples of this optimizer step; their order in it keys their dropout, however it is cut into
      // batches.
      const std::vector<std::vector<int64_t>> micro_batches =
          train::micro_batches(sampler, epoch, window, args.gradient_accumulation_steps);
      const double terms = train::loss_terms(*p.features.task, *p.features.train, micro_batches, epoch);
      state.parameters.clear_grads();
      double loss = 0;
      int64_t index = 0, tokens = 0;
      size_t micro_batches_done = 0;
      for (const std::vector<int64_t>& examples : micro_batches) {
        if (p.stop) break;
        batch.clear();
        for (const int64_t i : examples) p.features.train->append(batch, i, index++, epoch);
        train::check_batch(batch, p.model);
        train::provide_memory(p, batch);
        optimizer.catch_up(*state.network.encoder->word_embeddings(), batch.input_ids.data(), batch.rows());
        loss += train::accumulate_gradients(state, *p.features.task, batch, terms, args.seed,
                                            static_cast<uint64_t>(step), true, p.memory);
        tokens += batch.rows();
        ++micro_batches_done;
      }
      if (micro_batches_done < micro_batches.size()) break;  // stopped: part of a step is no step
      const double norm = optimizer.grad_norm();
      train::check_finite(loss, norm, step, state,
                          [&] { return train::why_not_finite(state, batch, p.memory); });
      const double clip = args.max_grad_norm > 0 ? std::min(1.0, args.max_grad_norm / (norm + 1e-6)) : 1.0;
      const double rate =
          args.learning_rate * train::schedule_factor(schedule, step, plan.warmup_steps, plan.total_steps);
      optimizer.step(rate, static_cast<float>(clip));
      ++step;

      const double at_epoch = static_cast<double>(epoch) +
                              static_cast<double>(window + 1) / static_cast<double>(plan.steps_per_epoch);
      const bool run_ends = step == plan.total_steps;
      const bool epoch_ends = run_ends || window + 1 == plan.steps_per_epoch;
      log.step(step, at_epoch, loss, rate, norm, tokens, index, epoch_ends);
      if (train::is_due(args.eval_strategy, plan.eval_steps, step, epoch_ends)) {
        optimizer.flush();
        log.evaluation(train::evaluate_parts(p, p.features.eval.get(), "eval_"), step);
      }
      if (train::is_due(args.save_strategy, plan.save_steps, step, epoch_ends) ||
          (run_ends && args.save_strategy == "steps")) {
        optimizer.flush();
        train::check_weights(state, step);
        train::save_checkpoint(p, log, step);
      }
    }
  }
  optimizer.flush();
  train::check_weights(state, step);
  result = log.result(p.stop);
  if (p.features.eval && args.do_eval && !p.stop)
    result.metrics =
        log.evaluation_once(step, [&] { return train::evaluate_parts(p, p.features.eval.get(), "eval_"); });
  result.interrupted = p.stop;
  train::save_output(p, log, result);
  return result;
} catch (...) {
  rethrow_as_error();
}

namespace {

LogEntry evaluate_whole(Trainer::Parts& parts, const tasks::Features* features, const char* prefix) {
  const train::StopRequest stop(parts);
  LogEntry metrics = train::evaluate_parts(parts, features, prefix);
  if (parts.stop) fail("the evaluation was stopped before its end");
  return metrics;
}

}  // namespace

LogEntry Trainer::evaluate() try {
  return evaluate_whole(*parts_, parts_->features.eval.get(), "eval_");
} catch (...) {
  rethrow_as_error();
}

LogEntry Trainer::evaluate_test() try {
  return evaluate_whole(*parts_, parts_->features.test.get(), "test_");
} catch (...) {
  rethrow_as_error();
}

void Trainer::save_model(const std::filesystem::path& folder) const try {
  train::save_model(*parts_, folder);
} catch (...) {
  rethrow_as_error();
}

void Trainer::on_log(std::function<void(const LogEntry&)> f) { parts_->on_log = std::move(f); }
void Trainer::on_progress(std::function<void(const TrainProgress&)> f) { parts_->on_progress = std::move(f); }
void Trainer::request_stop() { parts_->stop = true; }
Trainer::~Trainer() = default;

}  // namespace graft
