// Where a forward pass leaves the finite numbers: the diagnosis after a result turned out to be NaN or
// infinite.
#pragma once
#include <string>

#include "engine/kernels.h"
#include "engine/parameters.h"

namespace graft::engine {

// While one lives, passes of this thread with its kernels are the CPU's, and each result is looked through.
// Slow.
class FiniteCheck {
 public:
  explicit FiniteCheck(const ParameterStore& store);
  ~FiniteCheck();
  FiniteCheck(const FiniteCheck&) = delete;
  FiniteCheck& operator=(const FiniteCheck&) = delete;

  const Kernels& kernels() const;
  // The first operation whose result held NaN or an infinity, with its parameter ("linear with
  // bert.encoder.layer.0.output.dense.weight") or the last one before it; "" = none.
  const std::string& first() const { return first_; }

  // For the kernels: a result, and the weights that it was made with (null = none).
  void look(const char* operation, Tensor result, const float* weights, int64_t weights_stride);

 private:
  std::string name_of(const float* value) const;
  const ParameterStore& store_;
  FiniteCheck* outer_;
  std::string first_, last_parameter_;
};

}  // namespace graft::engine
