#include "train/adafactor.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/denormals.h"
#include "base/threads.h"
#include "train/optimizer_state.h"

namespace graft::train {

using engine::Parameter;

namespace {

// The reference's defaults: eps[0], clip_threshold, decay_rate.
constexpr double kSquareEpsilon = 1e-30, kClipThreshold = 1.0, kDecayRate = -0.8;
constexpr int64_t kRowsPerTask = 16, kColsPerTask = 64;

bool is_matrix(const Parameter& p) { return p.shape.size() >= 2; }

}  // namespace

// A row without a gradient has zeros: row(i) is then null.
struct Adafactor::Gradient {
  engine::HostRead values;  // of the parameter, or the rows that were read
  const int32_t* slot_of;   // [rows], null for a dense one
  int64_t cols;
  const float* row(int64_t r) const {
    const int64_t slot = slot_of ? slot_of[r] : r;
    return slot < 0 ? nullptr : values.data() + slot * cols;
  }
};

int64_t Adafactor::state_bytes(const Parameter& p) {
  return 4 * (is_matrix(p) ? p.rows() + p.cols() : p.size);
}

Adafactor::Adafactor(engine::ParameterStore& store, double weight_decay)
    : store_(store), weight_decay_(weight_decay) {
  for (Parameter& p : store.parameters()) {
    if (!p.trainable) continue;
    State s{&p, {}, std::vector<float>(static_cast<size_t>(p.cols()))};
    if (is_matrix(p)) s.row.resize(static_cast<size_t>(p.rows()));
    states_.push_back(std::move(s));
  }
}

void Adafactor::step(double lr, float grad_scale) {
  check_step(
      store_, [](const Parameter&) { return true; },
      std::count_if(states_.begin(), states_.end(), [](const State& s) { return s.parameter->trainable; }));
  const FlushDenormals flush;
  store_.settle_grads();
  ++steps_;
  for (State& state : states_)
    if (state.parameter->trainable) update(state, lr * state.parameter->lr_scale, grad_scale);
  store_.touch_values();
}

// Sums are in double and in the order of rows and columns, whatever the number of threads.
void Adafactor::update(State& s, double lr, float grad_scale) {
  Parameter& p = *s.parameter;
  const int64_t R = p.rows(), C = p.cols();
  const engine::SparseGrad* sparse = p.row_sparse ? &store_.sparse_grad(p) : nullptr;
  const Gradient g{sparse ? engine::HostRead(store_.device(), sparse->rows.data(), sparse->rows.size())
                          : store_.read_grad(p),
                   sparse ? sparse->slot_of.data() : nullptr, C};
  const double beta2 = 1 - std::pow(static_cast<double>(steps_ - p.frozen_steps), kDecayRate);
  const auto average = [&](float& to, double sum, int64_t n) {
    to = static_cast<float>(beta2 * to + (1 - beta2) * (sum / static_cast<double>(n) + kSquareEpsilon));
  };
  const auto square = [&](float x) {
    const double scaled = static_cast<double>(x) * grad_scale;
    return scaled * scaled;
  };
  parallel_blocks(C, kColsPerTask, [&](int64_t begin, int64_t end) {
    std::vector<double> sums(static_cast<size_t>(end - begin));
    for (int64_t r = 0; r < R; ++r) {
      const float* row = g.row(r);
      for (int64_t c = begin; row && c < end; ++c) sums[static_cast<size_t>(c - begin)] += square(row[c]);
    }
    for (int64_t c = begin; c < end; ++c)
      average(s.col[static_cast<size_t>(c)], sums[static_cast<size_t>(c - begin)], R);
  });
  std::vector<double> sums(static_cast<size_t>(R)), factor(static_cast<size_t>(R), 1.0);
  const auto each_row = [&](const auto& f) {
    parallel_blocks(R, kRowsPerTask, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) f(r, g.row(r));
    });
  };
  if (is_matrix(p)) {
    each_row([&](int64_t r, const float* row) {
      double sum = 0;
      for (int64_t c = 0; row && c < C; ++c) sum += square(row[c]);
      average(s.row[static_cast<size_t>(r)], sum, C);
    });
    const double mean = std::accumulate(s.row.begin(), s.row.end(), 0.0) / static_cast<double>(R);
    for (size_t r = 0; r < s.row.size(); ++r) factor[r] = 1 / std::sqrt(s.row[r] / mean);
  }
  std::vector<double> col_factor(static_cast<size_t>(C));
  for (size_t c = 0; c < col_factor.size(); ++c) col_factor[c] = 1 / std::sqrt(static_cast<double>(s.col[c]));
  const auto move = [&](int64_t r, float x, int64_t c) {
    return static_cast<double>(x) * grad_scale * factor[static_cast<size_t>(r)] *
           col_factor[static_cast<size_t>(c)];
  };
  each_row([&](int64_t r, const float* row) {
    double sum = 0;
    for (int64_t c = 0; row && c < C; ++c) sum += move(r, row[c], c) * move(r, row[c], c);
    sums[static_cast<size_t>(r)] = sum;
  });
  const double rms = std::sqrt(std::accumulate(sums.begin(), sums.end(), 0.0) / static_cast<double>(p.size));
  const double rate = lr / std::max(1.0, rms / kClipThreshold), keep = 1 - decay_of(p, weight_decay_) * lr;
  const engine::HostRead before = store_.read_value(p);
  const engine::HostWrite after = store_.write_value(p);
  each_row([&](int64_t r, const float* row) {
    const float* from = before.data() + r * C;
    float* to = after.data() + r * C;
    if (!row && keep == 1 && from == to) return;
    for (int64_t c = 0; c < C; ++c)
      to[c] = static_cast<float>(keep * from[c] - (row ? rate * move(r, row[c], c) : 0.0));
  });
}

std::vector<StateTensor> Adafactor::save() {
  std::vector<StateTensor> out;
  for (const State& s : states_) {
    const Parameter& p = *s.parameter;
    if (is_matrix(p)) out.push_back({"exp_avg_sq_row." + p.name, {p.rows()}, DType::f32, s.row.data()});
    out.push_back({(is_matrix(p) ? "exp_avg_sq_col." : "exp_avg_sq.") + p.name,
                   is_matrix(p) ? std::vector<int64_t>{p.cols()} : p.shape, DType::f32, s.col.data()});
  }
  return out;
}

void Adafactor::load(std::span<const StateTensor> state, int64_t steps) {
  const GivenState given(save(), state);
  steps_ = steps;
  for (State& s : states_) {
    const bool matrix = is_matrix(*s.parameter);
    if (matrix) std::copy_n(given.find<float>("exp_avg_sq_row", *s.parameter), s.row.size(), s.row.begin());
    std::copy_n(given.find<float>(matrix ? "exp_avg_sq_col" : "exp_avg_sq", *s.parameter), s.col.size(),
                s.col.begin());
  }
}

}  // namespace graft::train
