#include "engine/tape.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "base/error.h"

namespace graft::engine {

Dropout Tape::dropout(float p, std::string_view scope) const {
  Dropout d;
  if (!options_.training || p <= 0) return d;
  d.p = p;
  d.key = philox_key(options_.seed, options_.step, scope);
  return d;
}

void Tape::note_rows(Var v, const Rows& rows) {
  if (v && notes_rows() && rows.num_rows == v->data.rows)
    v->rows = new (arena_.push(sizeof(Rows))) Rows(rows);
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
  Var v = new (arena_.push(sizeof(Value))) Value{data, bf16_copy, {}, needs_grad && record()};
  if (bf16_copy && frees_copies_) copied_.push_back(v);
  return v;
}

Tensor Tape::push_bf16_copy(int64_t rows, int64_t cols) {
  if (!options_.bf16) return {};
  if (frees_copies_) return make_tensor(take((padded_rows(rows) * cols + 1) / 2), rows, cols, DType::bf16);
  Tensor copy = push(padded_rows(rows), cols, DType::bf16);
  copy.rows = rows;
  return copy;
}

Tensor Tape::bf16_copy_of(Var v) {
  if (!v->bf16_copy) {
    v->bf16_copy = push_bf16_copy(v->data.rows, v->data.cols);
    kernels_.to_bf16(v->data, v->bf16_copy);
    (frees_copies_ ? copied_ : cast_).push_back(v);
  }
  return v->bf16_copy;
}

Tensor Tape::grad_of(Var v, bool& add) {
  add = static_cast<bool>(v->grad);
  if (!add) v->grad = make_tensor(take(v->data.size()), v->data.rows, v->data.cols);
  return v->grad;
}

// All but those of the results, which the next segment reads.
void Tape::free_copies(const Results& results) {
  std::erase_if(copied_, [&](Var v) {
    if (v->keeps_copy) return true;
    if (std::find(results.begin(), results.end(), v) != results.end()) return false;
    give(v->bf16_copy.data);
    v->bf16_copy = {};
    return true;
  });
}

// f(), after which the stack is as before: with it go the activations of the segment, bf16 copies of what it
// read, and copies of host data.
template <class F>
void Tape::with_temporary_stack(F f) {
  const size_t mark = arena_.mark(), mirrors = mirrors_.size(), cast = cast_.size();
  f();
  for (size_t i = cast; i < cast_.size(); ++i) cast_[i]->bf16_copy = {};
  cast_.resize(cast);
  mirrors_.resize(mirrors);
  arena_.release(mark);
}

// A copy in the heap, as the stack below the result is released.
Tensor Tape::kept(const Tensor& result) {
  if (!result.contiguous()) fail("a segment's result is not a dense matrix");
  const int64_t rows = result.dtype == DType::bf16 ? padded_rows(result.rows) : result.rows;
  const size_t bytes = static_cast<size_t>(rows * result.cols) * dtype_size(result.dtype);
  const Tensor to = make_tensor(arena_.take(bytes), result.rows, result.cols, result.dtype);
  if (!planning()) device().copy(to.data, result.data, bytes);
  return to;
}

namespace {

// Rows whose arrays outlive the segment that made them.
struct OwnRows {
  explicit OwnRows(const Rows& r)
      : rows(r),
        cu_seqlens(r.cu_seqlens, r.cu_seqlens + r.num_sequences + 1),
        position(r.position, r.position + r.num_rows),
        sequence(r.sequence, r.sequence + r.num_rows) {}
  const Rows* on(Tape& tape) const {
    Rows out = rows;  // `example` belongs to the batch
    const auto pushed = [&](const std::vector<int32_t>& v) {
      return tape.push_copy(v.data(), static_cast<int64_t>(v.size()));
    };
    out.cu_seqlens = pushed(cu_seqlens);
    out.position = pushed(position);
    out.sequence = pushed(sequence);
    return tape.push_copy(&out, 1);
  }

  Rows rows;
  std::vector<int32_t> cu_seqlens, position, sequence;
};

}  // namespace

Tape::Results Tape::run_and_keep(const Segment& s) {
  Value values[2];
  std::optional<OwnRows> rows[2];
  size_t n = 0;
  with_temporary_stack([&] {
    for (const Var result : s.run(s.state, *this)) {
      if (!result) continue;
      if (result->rows) rows[n].emplace(*result->rows);
      Value& value = values[n++];
      value.data = kept(result->data);
      value.needs_grad = result->needs_grad;
      // The backward pass, which frees the results, frees no second copy.
      if (!record() && result->bf16_copy) value.bf16_copy = kept(result->bf16_copy);
    }
  });
  Results out{};
  for (size_t i = 0; i < n; ++i) {
    out[i] = new (arena_.push(sizeof(Value))) Value(values[i]);
    if (rows[i]) out[i]->rows = rows[i]->on(*this);
  }
  return out;
}

// The first run records too, so that it computes what the second one does; its nodes are dropped.
Tape::Results Tape::checkpoint(const Segment& s) {
  Node* const before = last_;
  const Results out = run_and_keep(s);
  last_ = before;
  on_backward(out[0], out[1], [s, out, options = options_](Tape& t) { t.replay(s, options, out); });
  return out;
}

void Tape::replay(const Segment& s, const TapeOptions& options, const Results& results) {
  for (const Var result : results) {
    if (!result) continue;
    give(result->data.data);  // what reads it has run backwards
    result->data = {};
  }
  const TapeOptions now = std::exchange(options_, options);
  Node* const before = std::exchange(last_, nullptr);
  with_temporary_stack([&] {
    const Results again = s.run(s.state, *this);
    for (size_t i = 0; i < again.size(); ++i)
      if (again[i]) again[i]->grad = std::exchange(results[i]->grad, Tensor{});
    run_back(last_);
  });
  last_ = before;
  options_ = now;
}

void Tape::run_back(Node* from) {
  const auto has_grad = [](Var v) { return v && v->grad; };
  for (Node* node = from; node; node = node->previous) {
    if (!has_grad(node->out[0]) && !has_grad(node->out[1])) continue;
    node->run(node->state, *this);
    for (Var out : node->out) {
      if (!has_grad(out)) continue;
      give(out->grad.data);
      out->grad = {};
    }
  }
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
  run_back(last_);
  last_ = nullptr;
}

}  // namespace graft::engine
