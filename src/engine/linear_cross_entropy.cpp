// A linear layer and the cross entropy of its result, in chunks of rows: the logits of a large vocabulary are
// never stored for all rows. The backward pass computes each chunk's logits again.
#include <algorithm>
#include <vector>

#include "base/error.h"
#include "engine/ops.h"

namespace graft::engine {
namespace {

// Rows of a chunk. A multiple of the depth at which bf16 products cut their sums over rows, so that the
// gradient of the weights is the sum of the same parts.
constexpr int64_t kChunkRows = 512;

Tensor rows_of(Tensor t, int64_t first, int64_t n) {
  Tensor out = t;
  out.data = static_cast<std::byte*>(t.data) + static_cast<size_t>(first * t.stride) * dtype_size(t.dtype);
  out.rows = n;
  return out;
}

// Numbers of the device; none in a dry run.
template <class T>
std::vector<T> host_copy(const Tape& tape, const T* from, int64_t n) {
  std::vector<T> out(static_cast<size_t>(tape.planning() ? 0 : n));
  if (!out.empty()) tape.device().copy_out(out.data(), from, out.size() * sizeof(T));
  return out;
}

// The operands of both passes.
struct ChunkedLoss {
  Var x;
  Linear layer;
  LinearArgs product;  // of all rows; y is not set
  CrossEntropyArgs loss;
  bool bf16 = false;

  int64_t rows() const { return x->data.rows; }
  int64_t classes() const { return product.w.rows; }
  Tensor take_logits(Tape& t) const {
    const int64_t n = std::min(rows(), kChunkRows);
    return make_tensor(t.take(std::max<int64_t>(n, 1) * classes()), n, classes());
  }
  // f(first row, its logits, the loss's arguments) of each chunk.
  template <class F>
  void each_chunk(Tape& t, Tensor memory, F f) const {
    for (int64_t first = 0; first < rows(); first += kChunkRows) {
      const int64_t n = std::min(kChunkRows, rows() - first);
      LinearArgs part = product;
      part.x = rows_of(product.x, first, n);
      part.y = rows_of(memory, 0, n);
      t.kernels().linear(part);
      CrossEntropyArgs terms = loss;
      terms.logits = part.y;
      terms.labels = loss.labels + first;
      terms.scratch = loss.scratch + first;
      terms.right = loss.right ? loss.right + first : nullptr;
      f(first, part, terms);
    }
  }
};

void check_labels(const ChunkedLoss& c, const int32_t* labels) {
  if (c.product.w.cols != c.x->data.cols || c.layer.count != 1)
    fail("{}: [{}, {}] of {} does not fit an input of width {}", c.layer.weight->name, c.classes(),
         c.product.w.cols, c.layer.count, c.x->data.cols);
  for (int64_t r = 0; r < c.rows(); ++r)
    if (labels[r] >= c.classes()) fail("label {} of row {} for {} classes", labels[r], r, c.classes());
}

// Adds to the gradients of x, weight and bias.
void chunked_backward(Tape& t, const ChunkedLoss& c, const float* grad) {
  ParameterStore& store = t.parameters();
  LinearBackwardArgs b;
  b.w = c.product.w;
  bool add_dx = false;
  const Tensor dx = c.x->needs_grad ? t.grad_of(c.x, add_dx) : Tensor{};
  Parameter *weight = c.layer.weight, *bias = c.layer.bias;
  const bool trains_weight = weight->trainable, trains_bias = bias && bias->trainable;
  b.add_dx = add_dx;
  if (trains_weight) b.dw = make_tensor(store.grad(*weight), c.classes(), weight->cols());
  if (trains_bias) b.db = store.grad(*bias);
  const Tensor memory = c.take_logits(t);
  Tensor dy_bf16;
  if (c.bf16) {
    dy_bf16 = make_tensor(t.take((padded_rows(memory.rows) * c.classes() + 1) / 2), memory.rows, c.classes(),
                          DType::bf16);
    if (dx) b.packed = t.kernels().packed_weights(store, *weight, 1, b.w, DType::bf16, true, false);
  }
  c.each_chunk(t, memory, [&](int64_t first, const LinearArgs& part, CrossEntropyArgs& terms) {
    terms.dlogits = terms.logits;
    terms.grad = grad;
    t.kernels().cross_entropy(terms);
    LinearBackwardArgs chunk = b;
    chunk.x = part.x;
    chunk.dy = terms.dlogits;
    if (dx) chunk.dx = rows_of(dx, first, part.y.rows);
    if (c.bf16) chunk.dy_bf16 = rows_of(dy_bf16, 0, part.y.rows);
    chunk.add_dw = first > 0 || weight->has_grad;
    chunk.add_db = first > 0 || (bias && bias->has_grad);
    t.kernels().linear_backward(chunk);
  });
  if (dy_bf16) t.give(dy_bf16.data);
  t.give(memory.data);
  if (t.planning() || c.rows() == 0) return;
  if (trains_weight) weight->has_grad = true;
  if (trains_bias) bias->has_grad = true;
}

}  // namespace

Var linear_cross_entropy(Tape& tape, Var x, const Linear& layer, const int32_t* labels, double denominator,
                         const CrossEntropyOptions& options) {
  ParameterStore& store = tape.parameters();
  if (layer.weight->adapter)
    fail("linear_cross_entropy: {} has an adapter; use linear and cross_entropy", layer.weight->name);
  ChunkedLoss c;
  c.x = x;
  c.layer = layer;
  c.bf16 = tape.options().bf16 && !layer.fp32;
  c.product.x = x->data;
  c.product.w = make_tensor(store.value(*layer.weight), layer.weight->rows(), layer.weight->cols());
  if (layer.bias) c.product.bias = store.value(*layer.bias);
  if (!tape.planning()) check_labels(c, labels);
  if (c.bf16) {
    c.product.x = tape.bf16_copy_of(x);
    x->keeps_copy = true;
    c.product.packed = tape.kernels().packed_weights(store, *layer.weight, 1, c.product.w, DType::bf16, false,
                                                     tape.record() && x->needs_grad);
  }
  c.loss.labels = tape.on_device(labels, c.rows());
  c.loss.denominator = denominator;
  c.loss.label_smoothing = options.label_smoothing;
  c.loss.scratch = tape.push_scratch<double>(c.rows());
  c.loss.right = options.right ? tape.push_scratch<uint8_t>(c.rows()) : nullptr;
  const Tensor loss = tape.push(1, 1);
  c.loss.loss = loss.f32();
  const Tensor memory = c.take_logits(tape);
  c.each_chunk(tape, memory, [&](int64_t, const LinearArgs&, const CrossEntropyArgs& terms) {
    tape.kernels().cross_entropy(terms);
  });
  tape.give(memory.data);
  double sum = 0;
  for (const double term : host_copy(tape, c.loss.scratch, c.rows())) {
    sum += term;
    if (options.total) *options.total += term;
  }
  for (const uint8_t right : host_copy(tape, c.loss.right, options.right ? c.rows() : 0))
    *options.right += right;
  if (!tape.planning()) tape.device().fill(loss.f32(), 1, static_cast<float>(sum / denominator));
  const bool trains = layer.weight->trainable || (layer.bias && layer.bias->trainable);
  const Var out = tape.result(loss, x->needs_grad || trains);
  c.loss.right = nullptr;
  tape.on_backward(out, [=](Tape& t) { chunked_backward(t, c, out->grad.f32()); });
  return out;
}

}  // namespace graft::engine
