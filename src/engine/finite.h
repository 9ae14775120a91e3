// Finds the operation of a forward or backward pass whose result is NaN or infinite.
#pragma once
#include <string>

#include "engine/kernels.h"
#include "engine/parameters.h"

namespace graft::engine {

// During its lifetime, its kernels() compute on this thread with those of the parameters' device and check
// each result. Slow.
class FiniteCheck {
 public:
  explicit FiniteCheck(const ParameterStore& store);
  ~FiniteCheck();
  FiniteCheck(const FiniteCheck&) = delete;
  FiniteCheck& operator=(const FiniteCheck&) = delete;

  const Kernels& kernels() const;
  const Kernels& unchecked() const { return store_.device().kernels(); }
  // The first operation whose result held NaN or an infinity, with its parameter ("linear with
  // bert.encoder.layer.0.output.dense.weight") or the last one before it; "" = none.
  const std::string& first() const { return first_; }
  // Call between the passes: gradients are checked from here on.
  void begin_backward() { in_backward_ = true, last_parameter_.clear(); }
  void begin_forward() { in_backward_ = false, last_parameter_.clear(); }
  bool in_backward() const { return in_backward_; }
  bool first_in_backward() const { return first_in_backward_; }  // else in the forward pass

  // Called by the kernels with what they produced.
  void look(const char* operation, const Result& result);

 private:
  std::string name_of(const float* value) const;
  const ParameterStore& store_;
  FiniteCheck* outer_;
  std::string first_, last_parameter_;
  bool in_backward_ = false, first_in_backward_ = false;
};

}  // namespace graft::engine
