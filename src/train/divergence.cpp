#include "train/divergence.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/log.h"
#include "train/runner.h"

namespace graft::train {
namespace {

constexpr size_t kWatchedNorms = 100;  // norms whose median is taken
constexpr size_t kFewestNorms = 20;    // before that no step is a spike
constexpr double kSpikeToWarnOf = 20;  // times the median
// Gradients that move nothing: the norm, for so many steps, at a loss that is not small itself.
constexpr double kSmallNorm = 1e-7, kSmallLoss = 1e-3;
constexpr int64_t kSmallSteps = 20;
// The layers are looked at every so many steps; a layer must be without gradient so many times.
constexpr int64_t kLayersEvery = 50, kDeadTimes = 3;
constexpr double kDeadRatio = 1e-9;

// "bert.encoder.layer.3" of "bert.encoder.layer.3.output.dense.bias": up to the first number, else without
// the parameter's own name.
std::string layer_name(const std::string& parameter) {
  size_t begin = 0;
  for (size_t dot; (dot = parameter.find('.', begin)) != std::string::npos; begin = dot + 1) {
    const std::string part = parameter.substr(begin, dot - begin);
    if (!part.empty() && std::all_of(part.begin(), part.end(), [](char c) { return c >= '0' && c <= '9'; }))
      return parameter.substr(0, dot);
  }
  const size_t last = parameter.rfind('.');
  const std::string module = last == std::string::npos ? parameter : parameter.substr(0, last);
  const size_t embeddings = module.find("embeddings.");
  return embeddings == std::string::npos ? module : module.substr(0, embeddings + 10);
}

double squares_of(const engine::ParameterStore& store, const engine::Parameter& p) {
  const engine::Kernels& kernels = store.device().kernels();
  if (!p.row_sparse) return kernels.sum_of_squares(store.grad(p), p.size);
  const engine::SparseGrad& g = store.sparse_grad(p);
  return kernels.sum_of_squares(g.rows.data(), g.rows.size());
}

}  // namespace

std::vector<LayerNorm> layer_norms(const engine::ParameterStore& store) {
  std::vector<LayerNorm> out;
  for (const engine::Parameter& p : store.parameters()) {
    if (!p.trainable) continue;
    const std::string layer = layer_name(p.name);
    if (out.empty() || out.back().layer != layer) out.push_back({layer, 0});
    out.back().norm += squares_of(store, p);
  }
  for (LayerNorm& l : out) l.norm = std::sqrt(l.norm);
  return out;
}

const LayerNorm* vanishing_layer(const std::vector<LayerNorm>& norms) {
  double largest = 0;
  for (const LayerNorm& l : norms) largest = std::max(largest, l.norm);
  const auto dead = std::find_if(norms.rbegin(), norms.rend(),
                                 [&](const LayerNorm& l) { return l.norm <= kDeadRatio * largest; });
  return largest == 0 || dead == norms.rend() ? nullptr : &*dead;
}

double GradientWatch::median() const {
  std::vector<double> sorted = norms_;
  const auto middle = sorted.begin() + static_cast<std::ptrdiff_t>(sorted.size() / 2);
  std::nth_element(sorted.begin(), middle, sorted.end());
  return *middle;
}

bool GradientWatch::skips(const engine::ParameterStore& parameters, double loss, double norm, int64_t step) {
  look_for_vanishing(parameters, loss, norm, step);
  const double usual = norms_.size() < kFewestNorms ? 0 : median();
  if (usual > 0 && factor_ > 0 && norm > factor_ * usual) {
    ++skipped_;
    if (++skipped_in_a_row_ > most_skipped_) {
      fail_with(
          "lower --learning_rate, add --warmup_ratio 0.1, or raise --skip_grad_spikes; checkpoints that "
          "were saved are unchanged",
          "step {}: {} steps in a row have a gradient norm above {} times the median (the last: {:.4g}, "
          "the median: {:.4g}); --max_skipped_steps is {}",
          step + 1, skipped_in_a_row_, factor_, norm, usual, most_skipped_);
    }
    log_warning(
        "step {}: the gradient norm {:.4g} is {:.0f} times the median {:.4g}; the step is skipped ({} so "
        "far)",
        step + 1, norm, norm / usual, usual, skipped_);
    return true;
  }
  if (usual > 0 && factor_ == 0 && norm > kSpikeToWarnOf * usual && !warned_of_spikes_) {
    warned_of_spikes_ = true;
    log_warning(
        "step {}: the gradient norm {:.4g} is {:.0f} times the median {:.4g}; --skip_grad_spikes {:.0f} "
        "skips such steps (this is said once)",
        step + 1, norm, norm / usual, usual, kSpikeToWarnOf);
  }
  skipped_in_a_row_ = 0;
  if (norms_.size() < kWatchedNorms)
    norms_.push_back(norm);
  else
    norms_[static_cast<size_t>(next_)] = norm;
  next_ = (next_ + 1) % static_cast<int64_t>(kWatchedNorms);
  return false;
}

void GradientWatch::look_for_vanishing(const engine::ParameterStore& parameters, double loss, double norm,
                                       int64_t step) {
  if (warned_of_vanishing_) return;
  small_in_a_row_ = norm < kSmallNorm && loss > kSmallLoss ? small_in_a_row_ + 1 : 0;
  const bool small = small_in_a_row_ >= kSmallSteps;
  if (!small && (step + 1) % kLayersEvery != 0) return;
  const std::vector<LayerNorm> norms = layer_norms(parameters);
  const LayerNorm* dead = norm > 0 ? vanishing_layer(norms) : nullptr;
  dead_in_a_row_ = dead ? dead_in_a_row_ + 1 : 0;
  if (!small && dead_in_a_row_ < kDeadTimes) return;
  warned_of_vanishing_ = true;
  const char* advice =
      "what lies below learns nothing; look for frozen or zero weights above it, a loss without gradient, or "
      "a learning rate that broke the model";
  if (dead) {
    log_warning(
        "step {}: the gradient vanishes in {}: its norm is {:.3g}, that of the whole model {:.3g}; {}",
        step + 1, dead->layer, dead->norm, norm, advice);
  } else {
    const auto smallest = std::min_element(norms.begin(), norms.end(),
                                           [](const auto& a, const auto& b) { return a.norm < b.norm; });
    log_warning(
        "step {}: the gradient norm is below {:.0e} for {} steps (now {:.3g}; the smallest in {}, {:.3g}) "
        "at a loss of {:.4g}; {}",
        step + 1, kSmallNorm, small_in_a_row_, norm, smallest->layer, smallest->norm, loss, advice);
  }
}

Json GradientWatch::values() const {
  return {{"norms", norms_},
          {"next", next_},
          {"skipped", skipped_},
          {"skipped_in_a_row", skipped_in_a_row_},
          {"small_in_a_row", small_in_a_row_},
          {"dead_in_a_row", dead_in_a_row_},
          {"warned_of_spikes", warned_of_spikes_},
          {"warned_of_vanishing", warned_of_vanishing_}};
}

void GradientWatch::load(const Json& values, std::span<const StateTensor> /*tensors*/) {
  GradientWatch next = *this;
  next.norms_ = values.at("norms").get<std::vector<double>>();
  next.next_ = values.at("next").get<int64_t>();
  next.skipped_ = values.at("skipped").get<int64_t>();
  next.skipped_in_a_row_ = values.at("skipped_in_a_row").get<int64_t>();
  next.small_in_a_row_ = values.at("small_in_a_row").get<int64_t>();
  next.dead_in_a_row_ = values.at("dead_in_a_row").get<int64_t>();
  next.warned_of_spikes_ = values.at("warned_of_spikes").get<bool>();
  next.warned_of_vanishing_ = values.at("warned_of_vanishing").get<bool>();
  if (next.norms_.size() > kWatchedNorms || next.next_ < 0 ||
      next.next_ >= static_cast<int64_t>(kWatchedNorms))
    fail("gradient_watch: {} norms and the next place {} are no state of it", next.norms_.size(), next.next_);
  *this = next;
}

std::string why_not_finite(Trainer::Parts& p, const StepBatches& batches, double terms, int64_t step) {
  // The loss of a step as one batch is no sum over its mini-batches.
  if (p.arguments.gradient_cache) return why_not_finite(p.model.state(), batches.last(), p.memory);
  for (const data::RaggedBatch& batch : batches) {
    const std::string why = why_step_not_finite(p.model.state(), *p.features.task, batch, terms,
                                                p.arguments.seed, static_cast<uint64_t>(step), p.memory);
    if (!why.empty()) return why;
  }
  return "";
}

StepCheck::StepCheck(const Trainer::Parts& parts) {
  if (parts.arguments.debug == "underflow_overflow") check_.emplace(parts.model.state().parameters);
}

void StepCheck::require_finite(int64_t step) const {
  if (!check_ || check_->first().empty()) return;
  fail_with("lower --learning_rate, or --max_grad_norm 1.0",
            "step {}: {} is the first operation of the {} pass with a NaN or an infinity (--debug "
            "underflow_overflow)",
            step + 1, check_->first(), check_->first_in_backward() ? "backward" : "forward");
}

}  // namespace graft::train
