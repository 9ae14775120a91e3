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

// A dry run counts the copy and leaves its kernels the host's data.
const void* Tape::mirror(const void* host, size_t bytes) {
  for (const Mirror& m : mirrors_)
    if (m.host == host && m.bytes >= bytes) return m.copy;
  void* copy = arena_.push_result(bytes);
  if (!planning()) device().copy_in(copy, host, bytes);
  mirrors_.push_back({host, bytes, planning() ? host : copy});
  return mirrors_.back().copy;
}

void* Tape::copied(const void* host, size_t bytes) {
  void* copy = arena_.take(bytes);
  if (!planning()) device().copy_in(copy, host, bytes);
  return copy;
}

Rows Tape::on_device(const Rows& rows) {
  Rows out = rows;
  out.cu_seqlens = on_device(rows.cu_seqlens, rows.num_sequences + 1);
  out.position = on_device(rows.position, rows.num_rows);
  out.example = on_device(rows.example, rows.num_sequences);
  out.sequence = on_device(rows.sequence, rows.num_rows);
  return out;
}

Tensor Tape::on_host(Tensor t) {
  if (device().is_host) return t;
  const size_t row = static_cast<size_t>(t.cols) * dtype_size(t.dtype),
               step = static_cast<size_t>(t.stride) * dtype_size(t.dtype);
  Tensor copy = make_tensor(arena_.push(static_cast<size_t>(t.rows) * row), t.rows, t.cols, t.dtype);
  for (size_t r = 0; !planning() && r < static_cast<size_t>(t.rows); ++r)
    device().copy_out(static_cast<std::byte*>(copy.data) + r * row,
                      static_cast<const std::byte*>(t.data) + r * step, row);
  return copy;
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
  if (!planning()) device().fill(start.f32(), 1, seed);
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
