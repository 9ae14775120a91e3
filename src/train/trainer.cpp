#include "graft/trainer.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "data/sampler.h"
#include "train/best_model.h"
#include "train/checkpoint_saver.h"
#include "train/disk_space.h"
#include "train/divergence.h"
#include "train/evaluation.h"
#include "train/evaluation_sets.h"
#include "train/gradient_cache.h"
#include "train/hidden_cache.h"
#include "train/label_entropy.h"
#include "train/metric_names.h"
#include "train/optimizer.h"
#include "train/output.h"
#include "train/output_lock.h"
#include "train/parts.h"
#include "train/plan.h"
#include "train/plan_memory.h"
#include "train/regularization.h"
#include "train/resume.h"
#include "train/schedule.h"
#include "train/step_batches.h"
#include "train/train_state.h"

namespace graft {

using train::StepPlan;

TrainResult Trainer::train(const Observer& observer) {
  train::TrainState state;
  return train(state, observer);
}

// The loop, whole: batches, forward, loss, backward, clip, step, schedule, log, evaluate, save.
TrainResult Trainer::train(train::TrainState& at, const Observer& observer) try {
  Parts& p = *parts_;
  const train::StopRequest stop(p);
  const TrainingArguments& args = p.arguments;
  models::State& state = p.model.state();
  if (!p.features.train || p.features.train->size() == 0) fail("there is nothing to train on");
  engine::Collective& ranks = *p.collective;
  train::check_ranks(args, ranks);
  train::check_metric(p);
  const std::unique_ptr<train::OutputLock> lock = train::prepare_output(p);
  data::Sampler sampler = train::make_sampler(*p.features.train, args, ranks.size());
  StepPlan plan = train::plan_steps(sampler.num_batches(), args);
  const train::Schedule schedule = train::schedule_of(args);
  state.parameters.allocate_grads();
  train::begin_or_continue(at, state.parameters, args);
  train::Optimizer& optimizer = *at.optimizer;
  train::plan_unfreezing(state.parameters, args, plan.steps_per_epoch);
  train::Regularization regularization(state, at, args, plan);
  train::BestModel best(args, at);
  train::Plateau* plateau = train::carried_plateau(at, schedule);
  auto& watch = train::carried<train::GradientWatch>(
      at.stateful, train::GradientWatch::kKey, [&] { return std::make_unique<train::GradientWatch>(args); });
  train::resume(p, at, plan);  // after all that is Stateful was made
  train::check_disk_space(p, at, plan);
  engine::broadcast_values(state.parameters, ranks);
  const train::ProbingCaches probing(p);
  train::plan_memory(p, sampler, train::copy_for_saves(p, at));

  train::RunLog log(p, plan, at, observer);
  train::CheckpointSaver saver(p, log, plan);
  const auto evaluate = [&] { return train::evaluate_sets(p); };
  if (args.eval_on_start && at.step == 0) log.evaluation(evaluate());
  // Evaluates and saves as the strategies have it.
  const auto finish_step = [&](bool epoch_ends) {
    const bool evaluates = train::evaluation_is_due(args, plan, at.step, at.epoch, epoch_ends),
               saves = train::save_is_due(args, plan, at.step, epoch_ends);
    if (evaluates || saves) optimizer.flush();
    const train::AveragedWeights averaged(evaluates || saves ? regularization.average() : nullptr);
    const LogEntry metrics = evaluates ? log.evaluation(evaluate()) : LogEntry();
    if (plateau && !metrics.empty()) train::follow(*plateau, metrics, args.metric_for_best_model);
    saver.save(saves, best.improves(metrics));
  };
  if (train::evaluation_is_missing(at, plan, args)) finish_step(train::epoch_ends(at, plan));
  train::StepBatches batches, whole;  // `whole`: the step as one batch of the loss, with --gradient_cache
  while (at.step < plan.total_steps && !best.out_of_patience() && !train::any_stops(p)) {
    const train::DataCursor cursor = train::data_cursor(at, plan);
    const int64_t epoch = cursor.epoch, window = cursor.window;
    if (window == 0) log.begin_epoch();
    // The order of the examples in the step keys their dropout, however they are cut into batches.
    std::vector<std::vector<int64_t>> examples =
        train::micro_batches(sampler, epoch, window, args.gradient_accumulation_steps);
    if (args.gradient_cache) {
      examples = train::mini_batches(examples, args.mini_batch_size);
      whole.fill(*p.features.train, train::mini_batches(examples, p.features.train->size()), epoch, ranks);
    }
    examples = train::pieces(std::move(examples), p);
    batches.fill(*p.features.train, examples, epoch, ranks, args.max_tokens_per_batch);
    const train::StepTotals totals =
        train::total_of(*p.features.task, args.gradient_cache ? whole : batches, ranks);
    state.parameters.clear_grads();
    train::Regularization::Pass pass = regularization.begin_pass(at.step, optimizer.num_steps());
    double loss = 0;
    size_t done = 0;
    train::StepCheck check(p);
    for (const data::RaggedBatch& batch : batches) {
      if (p.stop && ranks.size() == 1) break;  // several stop after the same step
      ++done;
      if (batch.size() == 0) continue;  // a rank without a share
      train::check_batch(batch, p.model);
      train::provide_memory(p, batch);
      for (const data::Sequences* stream : {static_cast<const data::Sequences*>(&batch), &batch.decoder})
        optimizer.catch_up(*state.network.encoder->word_embeddings(), stream->input_ids.data(),
                           stream->rows());
      if (!args.gradient_cache)
        loss += train::accumulate_gradients(state, *p.features.task, batch, totals.terms, args.seed,
                                            static_cast<uint64_t>(at.step), true, p.memory, check.get());
    }
    if (args.gradient_cache && done == batches.size()) {
      const std::optional<double> cached = train::cached_gradients(
          state, *p.features.task, batches, whole.last(),
          {totals.terms, args.seed, static_cast<uint64_t>(at.step)}, p.memory, p.stop);
      if (!cached) break;
      loss = *cached;
    }
    if (done < batches.size()) break;  // stopped: part of a step is no step
    pass.end();
    check.require_finite(at.step);
    engine::sum_gradients(state.parameters, ranks);
    ranks.all_reduce(&loss, 1);
    const double norm = train::grad_norm(state.parameters);
    train::check_finite(loss, norm, at.step, state,
                        [&] { return train::why_not_finite(p, batches, totals.terms, at.step); });
    const double clip = args.max_grad_norm > 0 ? std::min(1.0, args.max_grad_norm / (norm + 1e-6)) : 1.0;
    const double rate = regularization.rate(
        at.step, plateau ? plateau->rate()
                         : args.learning_rate * train::schedule_factor(schedule, at.step, plan.warmup_steps,
                                                                       plan.total_steps));
    if (watch.skips(state.parameters, loss, norm, at.step))
      ++at.skipped_steps;
    else
      optimizer.step(rate, static_cast<float>(clip));

    ++at.step;
    at.epoch = static_cast<double>(epoch) +
               static_cast<double>(window + 1) / static_cast<double>(plan.steps_per_epoch);
    const bool epoch_ends = train::epoch_ends(at, plan);
    log.step({loss, rate, norm, totals.tokens, totals.input_tokens, batches.examples(), watch.skipped(),
              epoch_ends});
    if (observer.should_stop && observer.should_stop()) p.stop = true;
    saver.poll();
    regularization.after_step(optimizer, at.step, epoch_ends,
                              train::evaluation_is_due(args, plan, at.step, at.epoch, epoch_ends));
    finish_step(epoch_ends);
  }
  optimizer.flush();
  regularization.finish();
  train::check_weights(state, at.step);
  best.explain_stop();
  train::explain_nothing_learned(p, at);
  const bool stopped = train::any_stops(p);
  if (stopped) saver.save_interrupted();
  TrainResult result = log.result();
  if (train::has_evaluation(p) && *args.do_eval && !stopped) {
    if (at.evaluated_at != at.step) saver.save(false, best.improves(log.evaluation(evaluate())));
    result.metrics = at.last_metrics;
  }
  saver.finish();
  if (!stopped && train::load_best(p, best)) {
    result.metrics = best.best_metrics();
    result.train_metrics.emplace_back("best_global_step", static_cast<double>(best.best_step()));
  } else {
    log.explain_best();
  }
  result.interrupted = p.stop;
  train::save_output(p, log, result);
  return result;
} catch (...) {
  rethrow_as_error();
}

namespace {

template <class Evaluate>
LogEntry evaluate_whole(Trainer::Parts& parts, Evaluate evaluate) {
  const train::StopRequest stop(parts);
  LogEntry metrics = evaluate();
  if (parts.stop) fail("the evaluation was stopped before its end");
  return metrics;
}

}  // namespace

LogEntry Trainer::evaluate() try {
  return evaluate_whole(*parts_, [&] { return train::evaluate_sets(*parts_); });
} catch (...) {
  rethrow_as_error();
}

LogEntry Trainer::evaluate_test() try {
  return evaluate_whole(*parts_,
                        [&] { return train::evaluate_parts(*parts_, parts_->features.test.get(), "test_"); });
} catch (...) {
  rethrow_as_error();
}

void Trainer::save_model(const std::filesystem::path& folder) const try {
  train::save_model(*parts_, folder);
} catch (...) {
  rethrow_as_error();
}

void Trainer::request_stop() { parts_->stop = true; }
Trainer::~Trainer() = default;

}  // namespace graft
