#include "train/adamw.h"

#include <cmath>

#include "base/denormals.h"
#include "base/error.h"
#include "base/threads.h"

namespace graft::train {

using engine::AdamWArgs;
using engine::Parameter;

AdamW::AdamW(engine::ParameterStore& store, const engine::Kernels& kernels, const AdamWOptions& options)
    : store_(store), kernels_(kernels), options_(options), m_(store.value_size()), v_(store.value_size()) {
  for (Parameter& p : store.parameters()) {
    if (!p.row_sparse) continue;
    const auto rows = static_cast<size_t>(p.rows());
    sparse_.push_back({&p, std::vector<int32_t>(rows, 0), std::vector<uint8_t>(rows, 0)});
    m_.expect_scattered(p.offset, p.offset + p.size);  // rows that are never read cost no memory
    v_.expect_scattered(p.offset, p.offset + p.size);
  }
}

AdamW::Rows* AdamW::find(const Parameter& parameter) {
  for (Rows& r : sparse_) {
    if (r.parameter == &parameter) return &r;
  }
  return nullptr;
}

double AdamW::grad_norm() {
  const FlushDenormals flush;
  store_.settle_grads();
  double sum = 0;
  for (const Parameter& p : store_.parameters()) {
    if (!p.trainable) continue;
    if (p.row_sparse) {
      const engine::SparseGrad& g = store_.sparse_grad(p);
      sum += kernels_.sum_of_squares(g.rows.data(), static_cast<int64_t>(g.rows.size()));
    } else {
      sum += kernels_.sum_of_squares(store_.grad(p), p.size);
    }
  }
  return std::sqrt(sum);
}

AdamWArgs AdamW::args_at(int64_t step, double weight_decay) const {
  AdamWArgs a;
  a.lr = lr_[static_cast<size_t>(step - 1)];
  a.beta1 = options_.beta1;
  a.beta2 = options_.beta2;
  a.eps = options_.epsilon;
  a.weight_decay = weight_decay;
  a.correction1 = 1.0 - std::pow(options_.beta1, static_cast<double>(step));
  a.correction2 = 1.0 - std::pow(options_.beta2, static_cast<double>(step));
  return a;
}

void AdamW::replay(Rows& rows, int64_t row, int64_t to_step) {
  const Parameter& p = *rows.parameter;
  const double decay = p.no_decay ? 0.0 : options_.weight_decay;
  int32_t& last = rows.last_step[static_cast<size_t>(row)];
  // Without moments and decay a step changes nothing, exactly.
  if (p.trainable && (rows.touched[static_cast<size_t>(row)] || decay != 0)) {
    for (int64_t s = last + 1; s <= to_step; ++s) {
      AdamWArgs a = args_at(s, decay);
      const int64_t at = p.offset + row * p.cols();
      a.w = store_.value(p) + row * p.cols();
      a.m = m_.data() + at;
      a.v = v_.data() + at;
      a.n = p.cols();
      kernels_.adamw(a);
    }
  }
  last = static_cast<int32_t>(to_step);
}

void AdamW::step(double lr, float grad_scale) {
  if (!store_.has_grads()) fail("AdamW::step: the parameters have no gradients (allocate_grads)");
  const FlushDenormals flush;
  store_.settle_grads();  // of parameters that this step's backward passes did not reach: zeros, not the last
                          // step's
  lr_.push_back(lr);
  const int64_t now = num_steps();
  for (Parameter& p : store_.parameters()) {
    if (!p.trainable) continue;
    const double decay = p.no_decay ? 0.0 : options_.weight_decay;
    AdamWArgs a = args_at(now, decay);
    a.grad_scale = grad_scale;
    if (!p.row_sparse) {
      a.w = store_.value(p);
      a.g = store_.grad(p);
      a.m = m_.data() + p.offset;
      a.v = v_.data() + p.offset;
      a.n = p.size;
      kernels_.adamw(a);
      continue;
    }
    Rows& rows = *find(p);
    const engine::SparseGrad& g = store_.sparse_grad(p);
    const int64_t n = static_cast<int64_t>(g.ids.size()), H = p.cols();
    parallel_blocks(n, 16, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t row = g.ids[static_cast<size_t>(i)];
        replay(rows, row, now - 1);
        AdamWArgs r = a;
        r.w = store_.value(p) + row * H;
        r.g = g.rows.data() + i * H;
        r.m = m_.data() + p.offset + row * H;
        r.v = v_.data() + p.offset + row * H;
        r.n = H;
        kernels_.adamw(r);
        rows.last_step[static_cast<size_t>(row)] = static_cast<int32_t>(now);
        rows.touched[static_cast<size_t>(row)] = 1;
      }
    });
    if (!options_.lazy_rows) {
      for (int64_t row = 0; row < p.rows(); ++row) replay(rows, row, now);
    }
  }
  store_.touch_values();
}

void AdamW::catch_up(Parameter& parameter, const int32_t* ids, int64_t n) {
  Rows* rows = find(parameter);
  if (!rows) return;
  const FlushDenormals flush;
  for (int64_t i = 0; i < n; ++i) replay(*rows, ids[i], num_steps());
}

void AdamW::flush() {
  const FlushDenormals flush;
  for (Rows& rows : sparse_) {
    parallel_blocks(rows.parameter->rows(), 256, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) replay(rows, row, num_steps());
    });
  }
}

}  // namespace graft::train
