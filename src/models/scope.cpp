#include "models/scope.h"

#include <algorithm>

namespace graft::models {

using engine::Init;
using engine::Linear;
using engine::Norm;
using engine::Parameter;

namespace {

Parameter weight_of(std::string name, std::vector<int64_t> shape) {
  Parameter p;
  p.name = std::move(name);
  p.shape = std::move(shape);
  return p;
}

Parameter bias_of(std::string name, int64_t size) {
  Parameter p = weight_of(std::move(name), {size});
  p.init = Init::zeros;
  p.no_decay = true;
  return p;
}

}  // namespace

Linear Scope::linear(const std::string& part, int64_t out, int64_t in, bool bias) const {
  return linear_group({part}, out, in, bias);
}

Linear Scope::linear_group(const std::vector<std::string>& parts, int64_t out, int64_t in, bool bias) const {
  std::vector<Parameter> weights, biases;
  for (const std::string& part : parts) {
    weights.push_back(weight_of(join(part) + ".weight", {out, in}));
    weights.back().is_linear = true;
    if (bias) biases.push_back(bias_of(join(part) + ".bias", out));
  }
  Linear layer;
  layer.weight = store_.add_group(std::move(weights)).front();
  if (bias) layer.bias = store_.add_group(std::move(biases)).front();
  layer.count = static_cast<int>(parts.size());
  return layer;
}

Norm Scope::norm(const std::string& part, int64_t size, double eps, bool bias) const {
  Parameter weight = weight_of(join(part) + ".weight", {size});
  weight.init = Init::ones;
  weight.no_decay = true;
  Norm norm;
  norm.weight = &store_.add(std::move(weight));
  if (bias) norm.bias = &store_.add(bias_of(join(part) + ".bias", size));
  norm.eps = static_cast<float>(eps);
  return norm;
}

Parameter* Scope::embedding(const std::string& part, int64_t rows, int64_t cols, bool row_sparse,
                            int64_t padding_row) const {
  Parameter p = weight_of(join(part) + ".weight", {rows, cols});
  p.row_sparse = row_sparse;
  p.padding_row = padding_row;
  return &store_.add(std::move(p));
}

Parameter* Scope::bias(const std::string& part, int64_t size) const {
  return &store_.add(bias_of(join(part), size));
}

Linear part_of(engine::ParameterStore& store, const Linear& group, int first, int count) {
  const auto at = [&](Parameter* p) -> Parameter* {
    if (!p) return nullptr;  // no bias
    auto& all = store.parameters();
    auto it = std::find_if(all.begin(), all.end(), [&](const Parameter& q) { return &q == p; });
    return &*(it + first);
  };
  return {at(group.weight), at(group.bias), count};
}

}  // namespace graft::models
