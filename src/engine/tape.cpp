#include "engine/tape.h"

#include <algorithm>

#include "base/error.h"

namespace graft::engine {

Dropout Tape::dropout(float p, std::string_view scope) const {
  Dropout d;
  if (!options_.training || p <= 0) return d;
  d.p = p;
  d.key = philox_key(options_.seed, options_.step, scope);
  return d;
}

Tensor Tape::push(int64_t rows, int64_t cols, DType dtype) {
  return make_tensor(arena_.push_result(static_cast<size_t>(rows * cols) * dtype_size(dtype)), rows, cols,
                     dtype);
}

Var Tape::constant(Tensor data) { return new (arena_.push(sizeof(Value))) Value{data, {}, {}, false}; }

Var Tape::result(Tensor data, bool needs_grad, Tensor bf16_copy) {
  return new (arena_.push(sizeof(Value))) Value{data, bf16_copy, {}, needs_grad && record()};
}

Tensor Tape::push_bf16_copy(int64_t rows, int64_t cols) {
  if (!options_.bf16) return {};
  Tensor copy = push(padded_rows(rows), cols, DType::bf16);
  copy.rows = rows;
  return copy;
}

Tensor Tape::bf16_copy_of(Var v) {
  if (!v->bf16_copy) {
    v->bf16_copy = push_bf16_copy(v->data.rows, v->data.cols);
    kernels_.to_bf16(v->data, v->bf16_copy);
  }
  return v->bf16_copy;
}

Tensor Tape::grad_of(Var v, bool& add) {
  add = static_cast<bool>(v->grad);
  if (!add) v->grad = make_tensor(take(v->data.size()), v->data.rows, v->data.cols);
  return v->grad;
}

void Tape::backward(Var loss, float seed) {
  if (loss->data.size() != 1)
    fail("backward starts from a scalar, not from [{}, {}]", loss->data.rows, loss->data.cols);
  if (!record()) fail("backward: this tape recorded nothing; make it with TapeOptions::record");
  if (!loss->needs_grad)
    fail_with("train at least one parameter that the loss depends on",
              "backward: this loss depends on no value that needs a gradient");
  if (!last_) fail("backward ran already on this tape");
  if (!planning() && !parameters_.has_grads())
    fail("backward: the parameters have no memory for gradients (allocate_grads)");
  bool add = false;
  Tensor start = grad_of(loss, add);
  if (!planning()) *start.f32() = seed;
  for (Node* node = last_; node; node = node->previous) {
    const auto has_grad = [](Var v) { return v && v->grad; };
    if (!has_grad(node->out[0]) && !has_grad(node->out[1])) continue;
    node->run(node->state, *this);
    for (Var out : node->out) {
      if (!has_grad(out)) continue;
      give(out->grad.data);
      out->grad = {};
    }
  }
  last_ = nullptr;
}

}  // namespace graft::engine
