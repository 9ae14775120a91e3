#include "train/adamw.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>

#include "base/denormals.h"
#include "base/error.h"
#include "base/threads.h"

namespace graft::train {

using engine::AdamWArgs;
using engine::Parameter;

namespace {
constexpr int64_t kMomentAlign = 16;  // floats: one cache line
}

AdamW::AdamW(engine::ParameterStore& store, const AdamWOptions& options)
    : store_(store), kernels_(store.device().kernels()), options_(options) {
  int64_t size = 0;
  for (Parameter& p : store.parameters()) {
    if (!p.trainable) continue;
    State state{&p, size, {}, {}};
    if (p.row_sparse) {
      state.last_step.assign(static_cast<size_t>(p.rows()), 0);
      state.touched.assign(static_cast<size_t>(p.rows()), 0);
    }
    states_.push_back(std::move(state));
    size = (size + p.size + kMomentAlign - 1) / kMomentAlign * kMomentAlign;
  }
  m_ = engine::FloatBuffer(size, store.device());
  v_ = engine::FloatBuffer(size, store.device());
  for (const State& s : states_) {
    if (!s.parameter->row_sparse) continue;
    m_.expect_scattered(s.offset, s.offset + s.parameter->size);  // rows never read cost no memory
    v_.expect_scattered(s.offset, s.offset + s.parameter->size);
  }
}

AdamW::State* AdamW::find(const Parameter& parameter) {
  const auto it =
      std::find_if(states_.begin(), states_.end(), [&](const State& s) { return s.parameter == &parameter; });
  return it == states_.end() ? nullptr : &*it;
}

AdamWArgs AdamW::args_at(int64_t step, const Parameter& parameter) const {
  AdamWArgs a;
  a.lr = lr_[static_cast<size_t>(step - 1)] * parameter.lr_scale;
  a.beta1 = options_.beta1;
  a.beta2 = options_.beta2;
  a.eps = options_.epsilon;
  a.weight_decay = parameter.no_decay ? 0.0 : options_.weight_decay;
  a.correction1 = 1.0 - std::pow(options_.beta1, static_cast<double>(step));
  a.correction2 = 1.0 - std::pow(options_.beta2, static_cast<double>(step));
  return a;
}

void AdamW::replay(State& state, int64_t row, int64_t to_step) {
  const Parameter& p = *state.parameter;
  const bool decays = !p.no_decay && options_.weight_decay != 0;
  int32_t& last = state.last_step[static_cast<size_t>(row)];
  // Without moments and decay a step changes nothing, exactly.
  if (p.trainable && (state.touched[static_cast<size_t>(row)] || decays)) {
    for (int64_t s = last + 1; s <= to_step; ++s) {
      AdamWArgs a = args_at(s, p);
      const int64_t at = state.offset + row * p.cols();
      a.w = store_.value(p) + row * p.cols();
      a.m = m_.data() + at;
      a.v = v_.data() + at;
      a.n = p.cols();
      kernels_.adamw(a);
    }
  }
  last = static_cast<int32_t>(to_step);
}

// A parameter that was frozen when the optimizer was made has no moments.
void AdamW::check_trained() const {
  size_t known = 0;
  for (const State& s : states_) known += s.parameter->trainable ? 1 : 0;
  size_t trained = 0;
  for (const Parameter& p : store_.parameters()) trained += p.trainable ? 1 : 0;
  if (known != trained)
    fail(
        "AdamW::step: {} parameters are trained and {} have moments: set `trainable` before the optimizer is "
        "made",
        trained, known);
}

void AdamW::step_rows(State& state, const AdamWArgs& args) {
  const Parameter& p = *state.parameter;
  const engine::SparseGrad& g = store_.sparse_grad(p);
  const int64_t n = static_cast<int64_t>(g.ids.size()), H = p.cols(), now = num_steps();
  parallel_blocks(n, 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t row = g.ids[static_cast<size_t>(i)];
      replay(state, row, now - 1);
      AdamWArgs r = args;
      r.w = store_.value(p) + row * H;
      r.g = g.rows.data() + i * H;
      r.m = m_.data() + state.offset + row * H;
      r.v = v_.data() + state.offset + row * H;
      r.n = H;
      kernels_.adamw(r);
      state.last_step[static_cast<size_t>(row)] = static_cast<int32_t>(now);
      state.touched[static_cast<size_t>(row)] = 1;
    }
  });
  if (options_.lazy_rows) return;
  for (int64_t row = 0; row < p.rows(); ++row) replay(state, row, now);
}

void AdamW::step(double lr, float grad_scale) {
  if (!store_.has_grads()) fail("AdamW::step: the parameters have no gradients (allocate_grads)");
  check_trained();
  const FlushDenormals flush;
  store_.settle_grads();  // of parameters that this step's backward passes did not reach: zeros, not the last
                          // step's
  lr_.push_back(lr);
  for (State& state : states_) {
    const Parameter& p = *state.parameter;
    if (!p.trainable) continue;
    AdamWArgs a = args_at(num_steps(), p);
    a.grad_scale = grad_scale;
    if (p.row_sparse) {
      step_rows(state, a);
      continue;
    }
    a.w = store_.value(p);
    a.g = store_.grad(p);
    a.m = m_.data() + state.offset;
    a.v = v_.data() + state.offset;
    a.n = p.size;
    kernels_.adamw(a);
  }
  store_.touch_values();
}

void AdamW::catch_up(Parameter& parameter, const int32_t* ids, int64_t n) {
  State* state = parameter.row_sparse ? find(parameter) : nullptr;
  if (!state) return;
  const FlushDenormals flush;
  for (int64_t i = 0; i < n; ++i) replay(*state, ids[i], num_steps());
}

void AdamW::flush() {
  const FlushDenormals flush;
  for (State& state : states_) {
    parallel_blocks(static_cast<int64_t>(state.last_step.size()), 256, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) replay(state, row, num_steps());
    });
  }
}

std::vector<StateTensor> AdamW::save() {
  flush();
  std::vector<StateTensor> out;
  saved_.clear();
  const auto add = [&](const char* prefix, const Parameter& p, const float* moment) {
    saved_.emplace_back(store_.device(), moment, p.size);
    out.push_back({prefix + p.name, p.shape, DType::f32, saved_.back().data()});
  };
  for (const State& s : states_) {
    add("exp_avg.", *s.parameter, m_.data() + s.offset);
    add("exp_avg_sq.", *s.parameter, v_.data() + s.offset);
  }
  return out;
}

void AdamW::load(std::span<const StateTensor> moments, int64_t steps) {
  std::map<std::string, const StateTensor*> by_name;
  for (const StateTensor& t : moments) by_name.emplace(t.name, &t);
  const auto find_moment = [&](const char* prefix, const Parameter& p) {
    const auto it = by_name.find(prefix + p.name);
    if (it == by_name.end()) fail("the optimizer's state lacks {}{}", prefix, p.name);
    if (it->second->shape != p.shape)
      fail("the optimizer's state: {} has another shape than its parameter", it->first);
    if (it->second->dtype != DType::f32)
      fail("the optimizer's state: {} is {}, not F32", it->first, dtype_name(it->second->dtype));
    return static_cast<const float*>(it->second->data);
  };
  std::vector<std::pair<const float*, const float*>> found;
  for (const State& s : states_)
    found.emplace_back(find_moment("exp_avg.", *s.parameter), find_moment("exp_avg_sq.", *s.parameter));
  if (by_name.size() != 2 * states_.size())
    fail("the optimizer's state has {} tensors; the trained parameters have {}", by_name.size(),
         2 * states_.size());
  lr_.assign(static_cast<size_t>(steps), 0.0);  // all rows are up to date: no former step is replayed
  for (size_t i = 0; i < states_.size(); ++i) set_moments(states_[i], found[i].first, found[i].second);
}

// Row by row; equal rows are not written, so that rows of zeros take no memory.
void AdamW::set_moments(State& state, const float* exp_avg, const float* exp_avg_sq) {
  const auto H = static_cast<size_t>(state.parameter->cols());
  const auto is_zero = [&](const float* x) {
    return std::all_of(x, x + H, [](float value) { return value == 0; });
  };
  const auto put = [&](const engine::FloatBuffer& moments, const float* from, size_t row) {
    float* to = moments.data() + state.offset + row * H;
    const engine::Device& device = store_.device();
    if (!device.is_host || std::memcmp(from, to, H * sizeof(float)) != 0)
      device.copy_in(to, from, H * sizeof(float));
  };
  for (size_t row = 0; row < static_cast<size_t>(state.parameter->rows()); ++row) {
    const float *m = exp_avg + row * H, *v = exp_avg_sq + row * H;
    put(m_, m, row);
    put(v_, v, row);
    if (!state.parameter->row_sparse) continue;
    state.last_step[row] = static_cast<int32_t>(num_steps());
    state.touched[row] = !is_zero(m) || !is_zero(v);
  }
}

}  // namespace graft::train
