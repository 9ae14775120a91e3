#include "train/muon.h"

#include <algorithm>
#include <cmath>

#include "base/denormals.h"
#include "base/threads.h"
#include "train/optimizer_state.h"

namespace graft::train {

using engine::make_tensor;
using engine::Parameter;

namespace {

constexpr double kNormEpsilon = 1e-7, kNewtonA = 3.4445, kNewtonB = -4.7750,
                 kNewtonC = 2.0315;  // torch.optim.Muon's
constexpr int64_t kMuonFloatsPerTask = 1 << 14;

float rounded_to_bf16(double x) { return bf16_to_float(float_to_bf16(static_cast<float>(x))); }

// to[i] = f(i), rounded to bf16; from and to may be the same memory.
template <class F>
void fill_rounded(const engine::Device& device, const engine::FloatBuffer& to, int64_t n, F f) {
  const engine::HostWrite out(device, to.data(), n);
  parallel_blocks(n, kMuonFloatsPerTask, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) out.data()[i] = rounded_to_bf16(f(i));
  });
}

int64_t short_side(const Parameter& p) { return std::min(p.rows(), p.cols()); }

}  // namespace

int64_t Muon::scratch_bytes(const Parameter& p) { return 8 * (p.size + short_side(p) * short_side(p)); }

Muon::Muon(engine::ParameterStore& store, const MuonOptions& options, ParameterFilter takes)
    : store_(store), kernels_(store.device().kernels()), options_(options), takes_(std::move(takes)) {
  int64_t size = 0, side = 0;
  for (Parameter& p : store.parameters()) {
    if (!p.trainable || !takes_(p)) continue;
    states_.push_back({&p, std::vector<float>(static_cast<size_t>(p.size))});
    size = std::max(size, p.size);
    side = std::max(side, short_side(p));
  }
  for (engine::FloatBuffer* b : {&x_, &next_}) *b = engine::FloatBuffer(size, store.device());
  for (engine::FloatBuffer* b : {&gram_, &gram_update_})
    *b = engine::FloatBuffer(side * side, store.device());
}

void Muon::step(double lr, float grad_scale) {
  check_step(store_, takes_, std::count_if(states_.begin(), states_.end(), [](const State& s) {
               return s.parameter->trainable;
             }));
  const FlushDenormals flush;
  store_.settle_grads();
  ++steps_;
  for (State& state : states_)
    if (state.parameter->trainable) update(state, lr * state.parameter->lr_scale, grad_scale);
  store_.touch_values();
}

// x_ [rows, cols], rows <= cols, becomes U V^T of its singular value decomposition, approximately. Every
// result is rounded to bf16, as torch's tensors are.
void Muon::orthogonalize(int64_t rows, int64_t cols) {
  const engine::Device& device = store_.device();
  const int64_t n = rows * cols, square = rows * rows;
  {
    const double length = std::sqrt(kernels_.sum_of_squares(x_.data(), n));
    const double norm = std::max(rounded_to_bf16(length), rounded_to_bf16(kNormEpsilon));
    const engine::HostRead x(device, x_.data(), n);
    fill_rounded(device, x_, n, [&](int64_t i) { return x[i] / norm; });
  }
  for (int64_t k = 0; k < options_.ns_steps; ++k) {
    const engine::Tensor x = make_tensor(x_.data(), rows, cols), next = make_tensor(next_.data(), rows, cols),
                         gram = make_tensor(gram_.data(), rows, rows),
                         update = make_tensor(gram_update_.data(), rows, rows);
    engine::LinearArgs product;
    product.x = product.w = x;
    product.y = gram;
    kernels_.linear(product);
    {
      const engine::HostRead g(device, gram_.data(), square);
      fill_rounded(device, gram_, square, [&](int64_t i) { return g[i]; });
    }
    engine::LinearBackwardArgs squared;  // dx = dy w
    squared.dy = squared.w = gram;
    squared.dx = update;
    kernels_.linear_backward(squared);
    {
      const engine::HostRead g(device, gram_.data(), square), u(device, gram_update_.data(), square);
      fill_rounded(device, gram_update_, square,
                   [&](int64_t i) { return kNewtonB * g[i] + kNewtonC * u[i]; });
    }
    engine::LinearBackwardArgs last;
    last.dy = update;
    last.w = x;
    last.dx = next;
    kernels_.linear_backward(last);
    const engine::HostRead before(device, x_.data(), n), moved(device, next_.data(), n);
    fill_rounded(device, x_, n, [&](int64_t i) { return kNewtonA * before[i] + moved[i]; });
  }
}

void Muon::update(State& state, double lr, float grad_scale) {
  Parameter& p = *state.parameter;
  const int64_t out = p.rows(), in = p.cols();
  const bool transposed = out > in;  // the iteration is on the short side
  const auto at = [&](int64_t i) { return transposed ? i % in * out + i / in : i; };
  const auto momentum = static_cast<float>(options_.momentum);
  {
    const engine::HostRead g = store_.read_grad(p);
    const engine::HostWrite x(store_.device(), x_.data(), p.size);
    parallel_blocks(p.size, kMuonFloatsPerTask, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        float& m = state.momentum[static_cast<size_t>(i)];
        const float grad = g[i] * grad_scale;
        m += (1 - momentum) * (grad - m);
        x.data()[at(i)] = rounded_to_bf16(options_.nesterov ? grad + momentum * (m - grad) : m);
      }
    });
  }
  orthogonalize(std::min(out, in), std::max(out, in));
  const double a = static_cast<double>(out), b = static_cast<double>(in);
  const double factor =
      options_.match_rms_adamw ? 0.2 * std::sqrt(std::max(a, b)) : std::sqrt(std::max(1.0, a / b));
  const auto keep = static_cast<float>(1 - lr * decay_of(p, options_.weight_decay)),
             rate = static_cast<float>(lr * factor);
  const engine::HostRead before = store_.read_value(p), x(store_.device(), x_.data(), p.size);
  const engine::HostWrite after = store_.write_value(p);
  parallel_blocks(p.size, kMuonFloatsPerTask, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) after.data()[i] = before[i] * keep - rate * x[at(i)];
  });
}

std::vector<StateTensor> Muon::save() {
  std::vector<StateTensor> out;
  for (const State& s : states_)
    out.push_back(
        {"momentum_buffer." + s.parameter->name, s.parameter->shape, DType::f32, s.momentum.data()});
  return out;
}

void Muon::load(std::span<const StateTensor> state, int64_t steps) {
  const GivenState given(save(), state);
  steps_ = steps;
  for (State& s : states_)
    std::copy_n(given.find<float>("momentum_buffer", *s.parameter), s.momentum.size(), s.momentum.begin());
}

}  // namespace graft::train
