#include "train/adamw_8bit.h"

#include <algorithm>
#include <cmath>

#include "base/denormals.h"
#include "train/optimizer_state.h"

namespace graft::train {

using engine::k8bitBlock;
using engine::Parameter;

namespace {

int64_t num_blocks(int64_t n) { return (n + k8bitBlock - 1) / k8bitBlock; }
// Floats that hold the codes of one moment; a whole cache line.
int64_t code_floats(int64_t n) { return (n + 63) / 64 * 16; }

}  // namespace

int64_t AdamW8bit::state_bytes(int64_t n) { return 2 * 4 * (code_floats(n) + num_blocks(n)); }

uint8_t* AdamW8bit::State::codes(int moment) const {
  return reinterpret_cast<uint8_t*>(memory.data() + moment * code_floats(parameter->size));
}
float* AdamW8bit::State::scales(int moment) const {
  return memory.data() + 2 * code_floats(parameter->size) + moment * num_blocks(parameter->size);
}

AdamW8bit::AdamW8bit(engine::ParameterStore& store, const UpdateRule& rule, ParameterFilter takes)
    : store_(store), kernels_(store.device().kernels()), rule_(rule), takes_(std::move(takes)) {
  for (Parameter& p : store.parameters())
    if (p.trainable && takes_(p))
      states_.push_back({&p, engine::FloatBuffer(state_bytes(p.size) / 4, store.device())});
}

void AdamW8bit::step(double lr, float grad_scale) {
  check_step(store_, takes_, std::count_if(states_.begin(), states_.end(), [](const State& s) {
               return s.parameter->trainable;
             }));
  const FlushDenormals flush;
  store_.settle_grads();
  ++steps_;
  for (const State& state : states_) {
    const Parameter& p = *state.parameter;
    if (!p.trainable) continue;
    const auto steps = static_cast<double>(steps_ - p.frozen_steps);
    engine::AdamW8bitArgs a;
    a.w = store_.value(p);
    a.g = store_.grad(p);
    a.n = p.size;
    a.m = state.codes(0), a.v = state.codes(1);
    a.m_scale = state.scales(0), a.v_scale = state.scales(1);
    a.lr = lr * p.lr_scale;
    a.beta1 = rule_.beta1, a.beta2 = rule_.beta2, a.eps = rule_.epsilon;
    a.weight_decay = decay_of(p, rule_.weight_decay);
    a.correction1 = 1.0 - std::pow(rule_.beta1, steps);
    a.correction2 = 1.0 - std::pow(rule_.beta2, steps);
    a.grad_scale = grad_scale;
    kernels_.adamw_8bit(a);
  }
  store_.touch_values();
}

std::vector<StateTensor> AdamW8bit::save() {
  std::vector<StateTensor> out;
  saved_.clear();
  for (const State& s : states_) {
    const Parameter& p = *s.parameter;
    saved_.emplace_back(store_.device(), s.memory.data(), s.memory.size());
    const float* host = saved_.back().data();
    const float* scales = host + 2 * code_floats(p.size);
    for (const int moment : {0, 1}) {
      out.push_back({fmt::format("state{}.{}", moment + 1, p.name), p.shape, DType::u8,
                     host + moment * code_floats(p.size)});
      out.push_back({fmt::format("absmax{}.{}", moment + 1, p.name),
                     {num_blocks(p.size)},
                     DType::f32,
                     scales + moment * num_blocks(p.size)});
    }
  }
  return out;
}

void AdamW8bit::load(std::span<const StateTensor> state, int64_t steps) {
  const GivenState given(save(), state);
  steps_ = steps;
  const engine::Device& device = store_.device();
  for (const State& s : states_) {
    const Parameter& p = *s.parameter;
    for (const int moment : {0, 1}) {
      const std::string number = std::to_string(moment + 1);
      device.copy_in(s.codes(moment), given.find<uint8_t>(("state" + number).c_str(), p),
                     static_cast<size_t>(p.size));
      device.copy_in(s.scales(moment), given.find<float>(("absmax" + number).c_str(), p),
                     static_cast<size_t>(num_blocks(p.size)) * sizeof(float));
    }
  }
}

}  // namespace graft::train
