// Products of adapters in the weights: w + scale * b a (LoRA), the same with rows of given lengths (DoRA),
// columns or rows times their factors ((IA)3).
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/threads.h"
#include "graft/adapter.h"
#include "models/adapter.h"
#include "models/state.h"

namespace graft::models {

using engine::Adapter;
using engine::HostRead;
using engine::Parameter;

void add_product(const State& state, const Parameter& matrix, const Adapter& adapter, double factor,
                 float* w) {
  const HostRead a = state.parameters.read_value(*adapter.a), b = state.parameters.read_value(*adapter.b);
  const int64_t cols = matrix.cols(), rank = adapter.a->rows();
  parallel_for(matrix.rows(), [&](int64_t row) {
    std::vector<double> sum(static_cast<size_t>(cols));
    for (int64_t k = 0; k < rank; ++k) {
      const double f = factor * static_cast<double>(b[row * rank + k]);
      for (int64_t c = 0; c < cols; ++c)
        sum[static_cast<size_t>(c)] += f * static_cast<double>(a[k * cols + c]);
    }
    for (int64_t c = 0; c < cols; ++c)
      w[row * cols + c] =
          static_cast<float>(static_cast<double>(w[row * cols + c]) + sum[static_cast<size_t>(c)]);
  });
}

namespace {

// magnitude / |row| of each row of w.
std::vector<float> row_factors(const State& state, const Parameter& matrix, const Adapter& adapter,
                               const float* w) {
  const HostRead m = state.parameters.read_value(*adapter.magnitude);
  std::vector<float> out(static_cast<size_t>(matrix.rows()));
  for (int64_t r = 0; r < matrix.rows(); ++r) {
    double sum = 0;
    for (int64_t c = 0; c < matrix.cols(); ++c) {
      const double x = w[r * matrix.cols() + c];
      sum += x * x;
    }
    out[static_cast<size_t>(r)] = static_cast<float>(static_cast<double>(m[r]) / std::sqrt(sum));
  }
  return out;
}

// Element (r, c) times, or divided by, f(r, c).
template <class F>
void rescale(int64_t rows, int64_t cols, float* w, bool divide, F f) {
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < cols; ++c)
      w[r * cols + c] = divide ? w[r * cols + c] / f(r, c) : w[r * cols + c] * f(r, c);
}

void rescale_by_factors(const State& state, const Parameter& matrix, const Adapter& adapter, bool divide,
                        float* w) {
  const HostRead l = state.parameters.read_value(*adapter.factors);
  rescale(matrix.rows(), matrix.cols(), w, divide,
          [&](int64_t r, int64_t c) { return l[adapter.scales_input ? c : r]; });
}

// The bias of a matrix whose outputs are scaled; null if there is none.
const Parameter* scaled_bias(const State& state, const Parameter& matrix, const Adapter& adapter) {
  if (!adapter.factors || adapter.scales_input) return nullptr;
  return state.parameters.find(matrix.name.substr(0, matrix.name.rfind('.')) + ".bias");
}

// Merges the adapter into the values of its matrix; returns the factors of DoRA's rows.
std::vector<float> merge_into(const State& state, const Parameter& matrix, const Adapter& adapter, float* w) {
  if (adapter.factors) {
    rescale_by_factors(state, matrix, adapter, false, w);
    return {};
  }
  add_product(state, matrix, adapter, static_cast<double>(adapter.scale), w);
  if (!adapter.magnitude) return {};
  std::vector<float> factors = row_factors(state, matrix, adapter, w);
  rescale(matrix.rows(), matrix.cols(), w, false,
          [&](int64_t r, int64_t) { return factors[static_cast<size_t>(r)]; });
  return factors;
}

void check_invertible(const State& state, const Parameter& matrix, const ModelAdapter::Merged& merged) {
  const auto is_zero = [](float x) { return x == 0; };
  const std::vector<float>& rows = merged.row_factors;
  bool zero = std::any_of(rows.begin(), rows.end(), is_zero);
  if (merged.adapter.factors) {
    const HostRead l = state.parameters.read_value(*merged.adapter.factors);
    zero = std::any_of(l.begin(), l.end(), is_zero);
  }
  if (zero)
    fail("{}: a factor of its adapter is zero: it cannot be taken off the weights again", matrix.name);
}

// f(values of p), which are then its values.
template <class F>
void edit(State& state, const Parameter& p, F f) {
  std::vector<float> values(static_cast<size_t>(p.size));
  {
    const HostRead x = state.parameters.read_value(p);
    std::copy(x.begin(), x.end(), values.begin());
  }
  f(values.data());
  const engine::HostWrite out = state.parameters.write_value(p);
  std::copy(values.begin(), values.end(), out.data());
}

// The bias of a matrix with factors of its outputs, times or divided by them.
void rescale_bias(State& state, const Parameter& matrix, const Adapter& adapter, bool divide) {
  const Parameter* bias = scaled_bias(state, matrix, adapter);
  if (!bias) return;
  const HostRead l = state.parameters.read_value(*adapter.factors);
  edit(state, *bias,
       [&](float* b) { rescale(1, bias->size, b, divide, [&](int64_t, int64_t c) { return l[c]; }); });
}

void take_off(const State& state, const Parameter& matrix, const ModelAdapter::Merged& merged, float* w) {
  const Adapter& adapter = merged.adapter;
  if (adapter.factors) return rescale_by_factors(state, matrix, adapter, true, w);
  const std::vector<float>& factors = merged.row_factors;
  if (!factors.empty())
    rescale(matrix.rows(), matrix.cols(), w, true,
            [&](int64_t r, int64_t) { return factors[static_cast<size_t>(r)]; });
  add_product(state, matrix, adapter, -static_cast<double>(adapter.scale), w);
}

}  // namespace

void refuse_without_product(const State& state, const char* what) {
  if (!state.adapter && state.language)
    fail_with("train a task adapter above it: graft train --peft_type seq_bn",
              "{}: a model with a language adapter cannot be {}", state.origin.string(), what);
  if (!state.adapter) return;
  const char* hint =
      "use the folder of the adapter as it is: train, evaluate, predict and embed read it, with its base "
      "beside it";
  if (state.adapter->config.bottleneck)
    fail_with(hint,
              "{}: bottleneck adapters cannot be {}: each has an activation between its two matrices, which "
              "no matrix of the base can express",
              state.origin.string(), what);
  if (state.adapter->config.prompt)
    fail_with(
        hint,
        "{}: virtual tokens cannot be {}: their embeddings are inputs before each text, which no matrix "
        "of the base can express",
        state.origin.string(), what);
}

void merge_adapter(State& state) {
  if (!state.adapter) fail("{}: the model has no adapter to merge", state.origin.string());
  if (!state.adapter->merged.empty()) fail("{}: the adapter is merged already", state.origin.string());
  refuse_without_product(state, "merged into the weights");
  if (state.parameters.has_grads()) fail("{}: a model in training is not merged", state.origin.string());
  for (Parameter* matrix : state.adapter->matrices) {
    ModelAdapter::Merged& merged = state.adapter->merged[matrix];
    merged.adapter = matrix->adapter;
    edit(state, *matrix,
         [&](float* w) { merged.row_factors = merge_into(state, *matrix, merged.adapter, w); });
    rescale_bias(state, *matrix, merged.adapter, false);
    matrix->adapter = {};
  }
  state.parameters.touch_values();
}

void unmerge_adapter(State& state) {
  if (!state.adapter || state.adapter->merged.empty())
    fail("{}: the model has no merged adapter", state.origin.string());
  for (const auto& [matrix, merged] : state.adapter->merged) check_invertible(state, *matrix, merged);
  for (const auto& entry : state.adapter->merged) {
    Parameter& matrix = *entry.first;
    const ModelAdapter::Merged& merged = entry.second;
    edit(state, matrix, [&](float* w) { take_off(state, matrix, merged, w); });
    rescale_bias(state, matrix, merged.adapter, true);
    matrix.adapter = merged.adapter;
  }
  state.adapter->merged.clear();
  state.parameters.touch_values();
}

void copy_merged(const State& state, const Parameter& p, float* out) {
  const HostRead x = state.parameters.read_value(p);
  std::copy_n(x.data(), p.size, out);
  if (p.adapter) {
    merge_into(state, p, p.adapter, out);
    return;
  }
  if (!p.name.ends_with(".bias")) return;
  const Parameter* matrix = state.parameters.find(p.name.substr(0, p.name.size() - 4) + "weight");
  if (!matrix || scaled_bias(state, *matrix, matrix->adapter) != &p) return;
  const HostRead l = state.parameters.read_value(*matrix->adapter.factors);
  for (int64_t i = 0; i < p.size; ++i) out[i] *= l[i];
}

}  // namespace graft::models

namespace graft {

void merge_adapter(Model& model) try { models::merge_adapter(model.state()); } catch (...) {
  rethrow_as_error();
}

void unmerge_adapter(Model& model) try { models::unmerge_adapter(model.state()); } catch (...) {
  rethrow_as_error();
}

}  // namespace graft
