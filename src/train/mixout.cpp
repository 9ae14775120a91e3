#include "train/mixout.h"

#include <algorithm>

#include "base/error.h"
#include "base/philox.h"
#include "base/threads.h"

namespace graft::train {

using engine::Parameter;

namespace {

constexpr int64_t kWeightsPerTask = 1 << 14;  // a multiple of 4

// f(i, taken) for all n weights of a parameter: whether the pretrained one takes its place.
template <class F>
void each_weight(const Parameter& p, double share, uint64_t seed, uint64_t step, const F& f) {
  const PhiloxKey key = philox_key(seed, step, "mixout." + p.name);
  const auto threshold = static_cast<uint32_t>(share * 0x1p32);
  parallel_blocks(p.size, kWeightsPerTask, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i += 4) {
      const auto counter = static_cast<uint64_t>(i / 4);
      const std::array<uint32_t, 4> words =
          philox4x32(key, {static_cast<uint32_t>(counter), static_cast<uint32_t>(counter >> 32), 0, 0});
      for (int64_t k = i; k < std::min(end, i + 4); ++k) f(k, words[static_cast<size_t>(k - i)] < threshold);
    }
  });
}

}  // namespace

bool is_hidden_matrix(const Parameter& p) {
  return p.part == engine::Part::layer && p.shape.size() == 2 && !p.row_sparse &&
         p.name.find("bias") == std::string::npos;  // a relative position bias is a table
}

Mixout::Mixout(engine::ParameterStore& store, double p) : store_(store), p_(p) {
  for (Parameter& x : store.parameters()) {
    if (!x.trainable || !is_hidden_matrix(x)) continue;
    const engine::HostRead now = store.read_value(x);
    mixed_.push_back({&x, {now.begin(), now.end()}, std::vector<float>(static_cast<size_t>(x.size))});
  }
}

int64_t Mixout::state_bytes(const engine::ParameterStore& store) {
  int64_t bytes = 0;
  for (const Parameter& p : store.parameters()) bytes += p.trainable && is_hidden_matrix(p) ? 8 * p.size : 0;
  return bytes;
}

void Mixout::mix(uint64_t seed, uint64_t step) {
  seed_ = seed, step_ = step, active_ = true;
  const auto share = static_cast<float>(p_), rescale = static_cast<float>(1 / (1 - p_));
  for (Mixed& m : mixed_) {
    {
      const engine::HostRead now = store_.read_value(*m.parameter);
      std::copy(now.begin(), now.end(), m.weights.begin());
    }
    const engine::HostWrite to = store_.write_value(*m.parameter);
    each_weight(*m.parameter, p_, seed_, step_, [&](int64_t i, bool taken) {
      const float w0 = m.pretrained[static_cast<size_t>(i)];
      to.data()[i] = ((taken ? w0 : m.weights[static_cast<size_t>(i)]) - share * w0) * rescale;
    });
  }
  store_.touch_values();
}

void Mixout::restore() {
  if (!active_) return;
  active_ = false;
  const auto rescale = static_cast<float>(1 / (1 - p_));
  for (Mixed& m : mixed_) {
    const Parameter& p = *m.parameter;
    {
      const engine::HostWrite to = store_.write_value(p);
      std::copy(m.weights.begin(), m.weights.end(), to.data());
    }
    if (!p.trainable || !p.has_grad) continue;
    const engine::HostRead before = store_.read_grad(p);
    const engine::HostWrite after(store_.device(), store_.grad(p), p.size);
    each_weight(p, p_, seed_, step_,
                [&](int64_t i, bool taken) { after.data()[i] = taken ? 0.0f : before[i] * rescale; });
  }
  store_.touch_values();
}

std::vector<StateTensor> Mixout::tensors() {
  std::vector<StateTensor> out;
  for (const Mixed& m : mixed_)
    out.push_back({m.parameter->name, m.parameter->shape, DType::f32, m.pretrained.data()});
  return out;
}

void Mixout::load(const Json& /*values*/, std::span<const StateTensor> tensors) {
  if (tensors.size() != mixed_.size())
    fail("mixout: {} pretrained tensors are given for {}", tensors.size(), mixed_.size());
  std::vector<const float*> found;
  for (const Mixed& m : mixed_) {
    const auto it = std::find_if(tensors.begin(), tensors.end(), [&](const StateTensor& t) {
      return t.name == m.parameter->name && t.shape == m.parameter->shape && t.dtype == DType::f32;
    });
    if (it == tensors.end()) fail("mixout: the pretrained weights of {} are missing", m.parameter->name);
    found.push_back(static_cast<const float*>(it->data));
  }
  for (size_t i = 0; i < mixed_.size(); ++i)
    std::copy_n(found[i], mixed_[i].pretrained.size(), mixed_[i].pretrained.begin());
}

}  // namespace graft::train
