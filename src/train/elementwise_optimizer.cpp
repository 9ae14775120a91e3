#include "train/elementwise_optimizer.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/denormals.h"
#include "base/error.h"
#include "base/threads.h"
#include "train/optimizer_state.h"

namespace graft::train {

using engine::Parameter;
using engine::UpdateArgs;
using engine::UpdateKind;

namespace {

constexpr int64_t kStateAlign = 16;  // floats: one cache line

UpdateArgs row_of(UpdateArgs a, int64_t row, int64_t cols) {
  a.w += row * cols;
  if (a.m) a.m += row * cols;
  if (a.v) a.v += row * cols;
  a.n = cols;
  return a;
}

}  // namespace

const char* UpdateRule::first_state() const {
  switch (kind) {
    case UpdateKind::adamw:
    case UpdateKind::lion:
      return "exp_avg";
    case UpdateKind::sgd:
    case UpdateKind::rmsprop:
      return momentum != 0 ? "momentum_buffer" : nullptr;
    case UpdateKind::adagrad:
      return nullptr;
  }
  return nullptr;
}

const char* UpdateRule::second_state() const {
  switch (kind) {
    case UpdateKind::adamw:
      return "exp_avg_sq";
    case UpdateKind::rmsprop:
      return "square_avg";
    case UpdateKind::adagrad:
      return "sum";
    case UpdateKind::sgd:
    case UpdateKind::lion:
      return nullptr;
  }
  return nullptr;
}

ElementwiseOptimizer::ElementwiseOptimizer(engine::ParameterStore& store, const UpdateRule& rule,
                                           ParameterFilter takes)
    : store_(store), kernels_(store.device().kernels()), rule_(rule), takes_(std::move(takes)) {
  int64_t size = 0;
  for (Parameter& p : store.parameters()) {
    if (!p.trainable || !takes_(p)) continue;
    State state{&p, size, {}, {}};
    if (p.row_sparse) {
      state.last_step.assign(static_cast<size_t>(p.rows()), 0);
      state.touched.assign(static_cast<size_t>(p.rows()), 0);
    }
    states_.push_back(std::move(state));
    size = (size + p.size + kStateAlign - 1) / kStateAlign * kStateAlign;
  }
  if (rule.first_state()) m_ = engine::FloatBuffer(size, store.device());
  if (rule.second_state()) v_ = engine::FloatBuffer(size, store.device());
  for (const State& s : states_) {
    if (!s.parameter->row_sparse) continue;
    for (engine::FloatBuffer* states : {&m_, &v_})  // rows never read cost no memory
      if (states->size() > 0) states->expect_scattered(s.offset, s.offset + s.parameter->size);
  }
}

ElementwiseOptimizer::State* ElementwiseOptimizer::find(const Parameter& parameter) {
  const auto it =
      std::find_if(states_.begin(), states_.end(), [&](const State& s) { return s.parameter == &parameter; });
  return it == states_.end() ? nullptr : &*it;
}

// Of a step of the run, for a whole parameter.
UpdateArgs ElementwiseOptimizer::args_at(int64_t step, const State& state) const {
  const Parameter& p = *state.parameter;
  const auto steps = static_cast<double>(step - p.frozen_steps);  // of this parameter
  UpdateArgs a;
  a.kind = rule_.kind;
  a.lr = lr_[static_cast<size_t>(step - 1)] * p.lr_scale;
  if (rule_.kind == UpdateKind::adagrad) a.lr /= 1 + (steps - 1) * rule_.lr_decay;
  a.beta1 = rule_.beta1;
  a.beta2 = rule_.beta2;
  a.eps = rule_.epsilon;
  a.weight_decay = decay_of(p, rule_.weight_decay);
  a.correction1 = 1.0 - std::pow(rule_.beta1, steps);
  a.correction2 = 1.0 - std::pow(rule_.beta2, steps);
  a.momentum = rule_.momentum;
  a.dampening = steps == 1 ? 0 : rule_.dampening;  // torch starts the buffer with the whole gradient
  a.nesterov = rule_.nesterov;
  a.w = store_.value(p);
  if (m_.size() > 0) a.m = m_.data() + state.offset;
  if (v_.size() > 0) a.v = v_.data() + state.offset;
  a.n = p.size;
  return a;
}

void ElementwiseOptimizer::replay(State& state, int64_t row, int64_t to_step) {
  const Parameter& p = *state.parameter;
  int32_t& last = state.last_step[static_cast<size_t>(row)];
  // Without state and decay a step changes nothing, exactly.
  const bool has_state = state.touched[static_cast<size_t>(row)] && m_.size() + v_.size() > 0;
  if (p.trainable && (has_state || decay_of(p, rule_.weight_decay) != 0)) {
    for (int64_t s = std::max<int64_t>(last, p.frozen_steps) + 1; s <= to_step; ++s) {
      kernels_.update(row_of(args_at(s, state), row, p.cols()));
    }
  }
  last = static_cast<int32_t>(to_step);
}

void ElementwiseOptimizer::step_rows(State& state, const UpdateArgs& args) {
  const Parameter& p = *state.parameter;
  const engine::SparseGrad& g = store_.sparse_grad(p);
  const int64_t n = static_cast<int64_t>(g.ids.size()), H = p.cols(), now = num_steps();
  parallel_blocks(n, 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t row = g.ids[static_cast<size_t>(i)];
      replay(state, row, now - 1);
      UpdateArgs r = row_of(args, row, H);
      r.g = g.rows.data() + i * H;
      kernels_.update(r);
      state.last_step[static_cast<size_t>(row)] = static_cast<int32_t>(now);
      state.touched[static_cast<size_t>(row)] = 1;
    }
  });
  if (rule_.lazy_rows) return;
  for (int64_t row = 0; row < p.rows(); ++row) replay(state, row, now);
}

void ElementwiseOptimizer::step(double lr, float grad_scale) {
  const auto known =
      std::count_if(states_.begin(), states_.end(), [](const State& s) { return s.parameter->trainable; });
  check_step(store_, takes_, known);
  const FlushDenormals flush;
  store_.settle_grads();  // of parameters that this step's backward passes did not reach: zeros, not the last
                          // step's
  lr_.push_back(lr);
  store_.touch_values();  // before the updates, which keep packed forms current
  for (State& state : states_) {
    const Parameter& p = *state.parameter;
    if (!p.trainable) continue;
    UpdateArgs a = args_at(num_steps(), state);
    a.grad_scale = grad_scale;
    if (p.row_sparse) {
      step_rows(state, a);
      continue;
    }
    a.g = store_.grad(p);
    a.store = &store_;
    a.parameter = &p;
    kernels_.update(a);
  }
}

void ElementwiseOptimizer::catch_up(Parameter& parameter, const int32_t* ids, int64_t n) {
  State* state = parameter.row_sparse ? find(parameter) : nullptr;
  if (!state) return;
  const FlushDenormals flush;
  for (int64_t i = 0; i < n; ++i) replay(*state, ids[i], num_steps());
}

void ElementwiseOptimizer::flush() {
  const FlushDenormals flush;
  for (State& state : states_) {
    parallel_blocks(static_cast<int64_t>(state.last_step.size()), 256, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) replay(state, row, num_steps());
    });
  }
}

std::vector<StateTensor> ElementwiseOptimizer::save() {
  flush();
  std::vector<StateTensor> out;
  saved_.clear();
  const auto add = [&](const char* name, const State& s, const engine::FloatBuffer& states) {
    if (!name) return;
    const Parameter& p = *s.parameter;
    saved_.emplace_back(store_.device(), states.data() + s.offset, p.size);
    out.push_back({fmt::format("{}.{}", name, p.name), p.shape, DType::f32, saved_.back().data()});
  };
  for (const State& s : states_) {
    add(rule_.first_state(), s, m_);
    add(rule_.second_state(), s, v_);
  }
  return out;
}

void ElementwiseOptimizer::load(std::span<const StateTensor> state, int64_t steps) {
  const GivenState given(save(), state);
  lr_.assign(static_cast<size_t>(steps), 0.0);  // all rows are up to date: no former step is replayed
  for (State& s : states_)
    set_states(s, given.find<float>(rule_.first_state(), *s.parameter),
               given.find<float>(rule_.second_state(), *s.parameter));
}

// Row by row; equal rows are not written, so that rows of zeros take no memory.
void ElementwiseOptimizer::set_states(State& state, const float* first, const float* second) {
  const auto H = static_cast<size_t>(state.parameter->cols());
  const engine::Device& device = store_.device();
  // Returns whether the row has a number other than zero.
  const auto put = [&](const engine::FloatBuffer& states, const float* from, size_t row) {
    if (!from) return false;
    float* to = states.data() + state.offset + row * H;
    from += row * H;
    if (!device.is_host || std::memcmp(from, to, H * sizeof(float)) != 0)
      device.copy_in(to, from, H * sizeof(float));
    return std::any_of(from, from + H, [](float value) { return value != 0; });
  };
  for (size_t row = 0; row < static_cast<size_t>(state.parameter->rows()); ++row) {
    const bool has_first = put(m_, first, row), has_second = put(v_, second, row);
    if (!state.parameter->row_sparse) continue;
    state.last_step[row] = static_cast<int32_t>(num_steps());
    state.touched[row] = has_first || has_second;
  }
}

}  // namespace graft::train
