#include "engine/engine_case.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/philox.h"
#include "base/threads.h"

namespace graft::engine::test {

Matrix random_matrix(int64_t rows, int64_t cols, std::string_view name, float scale) {
  PhiloxStream stream(philox_key(11, 0, name));
  Matrix m(rows, cols);
  for (float& x : m.v) x = scale * static_cast<float>(stream.normal());
  return m;
}

std::vector<int32_t> random_ids(int64_t n, int64_t below, std::string_view name) {
  PhiloxStream stream(philox_key(12, 0, name));
  std::vector<int32_t> ids(static_cast<size_t>(n));
  for (int32_t& id : ids) id = static_cast<int32_t>(stream.below(static_cast<uint64_t>(below)));
  return ids;
}

Matrix copy_of(Tensor t) {
  Matrix m(t.rows, t.cols);
  for (int64_t r = 0; r < t.rows; ++r) std::copy_n(t.row(r), t.cols, m.v.data() + r * t.cols);
  return m;
}

Matrix rows_of(const Matrix& m, int64_t first, int64_t count) {
  Matrix out(count, m.cols);
  std::copy_n(m.v.data() + first * m.cols, count * m.cols, out.v.data());
  return out;
}

Batch::Batch(std::vector<int32_t> lengths, int64_t first_example) : cu_seqlens_{0} {
  for (size_t s = 0; s < lengths.size(); ++s) {
    for (int32_t i = 0; i < lengths[s]; ++i) {
      position_.push_back(i);
      sequence_.push_back(static_cast<int32_t>(s));
    }
    cu_seqlens_.push_back(cu_seqlens_.back() + lengths[s]);
    example_.push_back(first_example + 3 * static_cast<int64_t>(s));
  }
}

Rows Batch::rows() const {
  return {num_rows(),         static_cast<int64_t>(example_.size()),
          cu_seqlens_.data(), position_.data(),
          example_.data(),    sequence_.data()};
}

Parameter* declare(ParameterStore& store, const std::string& name, std::vector<int64_t> shape) {
  Parameter p;
  p.name = name;
  p.shape = std::move(shape);
  return &store.add(std::move(p));
}

void fill_store(ParameterStore& store, float scale) {
  store.allocate();
  store.allocate_grads();
  for (const Parameter& p : store.parameters()) {
    const Matrix m = random_matrix(1, p.size, p.name, scale);
    std::copy(m.v.begin(), m.v.end(), store.value(p));
  }
}

TapeOptions training() {
  TapeOptions options;
  options.training = true;
  options.record = true;
  options.seed = 42;
  options.step = 7;
  return options;
}

namespace {

std::vector<Var> leaves(Tape& tape, const std::vector<Matrix>& inputs) {
  std::vector<Var> out;
  for (const Matrix& m : inputs) {
    Tensor t = tape.push(m.rows, m.cols);
    std::copy(m.v.begin(), m.v.end(), t.f32());
    out.push_back(tape.result(t, true));
  }
  return out;
}

// The scalar sum of x * weights, as an operation of the test's own.
Var weighted_sum(Tape& tape, Var x, const Matrix& weights, double& sum) {
  sum = 0;
  for (int64_t r = 0; r < x->data.rows; ++r) {
    for (int64_t c = 0; c < x->data.cols; ++c) sum += double{x->data.row(r)[c]} * double{weights.at(r, c)};
  }
  Tensor t = tape.push(1, 1);
  *t.f32() = static_cast<float>(sum);
  Var out = tape.result(t, true);
  const Matrix* w = &weights;
  tape.on_backward(out, [=](Tape& backward) {
    bool add = false;
    Tensor dx = backward.grad_of(x, add);
    for (int64_t i = 0; i < dx.size(); ++i) {
      dx.f32()[i] = (add ? dx.f32()[i] : 0.0f) + *out->grad.f32() * w->v[static_cast<size_t>(i)];
    }
  });
  return out;
}

Matrix spread(ParameterStore& store, const Parameter& p) {
  Matrix m(p.rows(), p.cols());
  if (!p.row_sparse) {
    std::copy_n(store.grad(p), p.size, m.v.data());
    return m;
  }
  const SparseGrad& sparse = store.sparse_grad(p);
  for (size_t i = 0; i < sparse.ids.size(); ++i) {
    for (int64_t c = 0; c < m.cols; ++c)
      m.at(sparse.ids[i], c) += sparse.rows.data()[i * static_cast<size_t>(m.cols) + static_cast<size_t>(c)];
  }
  return m;
}

// The loss in double, forward only.
double loss_of(Arena& arena, ParameterStore& store, const std::vector<Matrix>& inputs, const Forward& forward,
               TapeOptions options, const Matrix& weights) {
  arena.reset();
  options.record = false;
  Tape tape(cpu_kernels(), arena, store, options);
  double sum = 0;
  weighted_sum(tape, forward(tape, leaves(tape, inputs)), weights, sum);
  return sum;
}

}  // namespace

Pass run_pass(ParameterStore& store, const std::vector<Matrix>& inputs, const Forward& forward,
              TapeOptions options, const Matrix* weights) {
  Arena arena;
  Tape tape(cpu_kernels(), arena, store, options);
  const std::vector<Var> vars = leaves(tape, inputs);
  Var y = forward(tape, vars);
  Pass pass;
  pass.out = copy_of(y->data);
  const Matrix random = weights ? *weights : random_matrix(y->data.rows, y->data.cols, "weights");
  Var loss = weighted_sum(tape, y, random, pass.loss);
  tape.backward(loss);
  for (Var v : vars)
    pass.input_grads.push_back(v->grad ? copy_of(v->grad) : Matrix(v->data.rows, v->data.cols));
  for (const Parameter& p : store.parameters()) {
    if (p.has_grad) pass.parameter_grads[p.name] = spread(store, p);
  }
  store.clear_grads();
  return pass;
}

Matrix run_forward(ParameterStore& store, const std::vector<Matrix>& inputs, const Forward& forward,
                   TapeOptions options) {
  Arena arena;
  Tape tape(cpu_kernels(), arena, store, options);
  return copy_of(forward(tape, leaves(tape, inputs))->data);
}

// Why the tolerance: the loss is summed in double, but its terms carry fp32 rounding of about n * 1e-7 for n
// outputs of size one, and a difference over 2h = 1/32 multiplies that by 32: about 1e-4 for the shapes in
// use. Two widths, h and h/2, joined as Richardson does leave a truncation error of order h^4 = 6e-8 times
// the fifth derivative.
void expect_gradients(ParameterStore& store, std::vector<Matrix> inputs, const Forward& forward,
                      TapeOptions options, double tolerance) {
  set_num_threads(1);  // thousands of tiny passes
  const Pass pass = run_pass(store, inputs, forward, options);
  const Matrix weights = random_matrix(pass.out.rows, pass.out.cols, "weights");
  Arena arena;
  const auto check = [&](const std::string& name, float* values, const Matrix& grad) {
    double scale = 1;
    for (const float g : grad.v) scale = std::max(scale, std::fabs(double{g}));
    for (size_t i = 0; i < grad.v.size(); ++i) {
      const float x = values[i];
      const auto slope = [&](double h) {
        const float up = static_cast<float>(x + h), down = static_cast<float>(x - h);
        values[i] = up;
        const double above = loss_of(arena, store, inputs, forward, options, weights);
        values[i] = down;
        const double below = loss_of(arena, store, inputs, forward, options, weights);
        values[i] = x;
        return (above - below) / (double{up} - double{down});
      };
      const double h = 1.0 / 64, wide = slope(h), narrow = slope(h / 2);
      const double expected = (4 * narrow - wide) / 3;
      ASSERT_NEAR(grad.v[i], expected, tolerance * scale) << name << " element " << i;
    }
  };
  for (size_t i = 0; i < inputs.size(); ++i)
    check("input " + std::to_string(i), inputs[i].v.data(), pass.input_grads[i]);
  for (const Parameter& p : store.parameters()) {
    const auto it = pass.parameter_grads.find(p.name);
    if (it != pass.parameter_grads.end()) check(p.name, store.value(p), it->second);
  }
  set_num_threads(0);
}

void expect_same_bits(const Matrix& a, const Matrix& b, const std::string& what) {
  ASSERT_EQ(a.rows, b.rows) << what;
  ASSERT_EQ(a.cols, b.cols) << what;
  if (a.v.empty() || std::memcmp(a.v.data(), b.v.data(), a.v.size() * sizeof(float)) == 0) return;
  size_t count = 0, first = a.v.size();
  for (size_t i = 0; i < a.v.size(); ++i) {
    if (std::memcmp(&a.v[i], &b.v[i], sizeof(float)) == 0) continue;
    first = std::min(first, i);
    ++count;
  }
  ADD_FAILURE() << what << ": " << count << " of " << a.v.size() << " numbers differ, first at ["
                << static_cast<int64_t>(first) / a.cols << ", " << static_cast<int64_t>(first) % a.cols
                << "]: " << a.v[first] << " and " << b.v[first];
}

void expect_same_bits(const Pass& a, const Pass& b, const std::string& what) {
  expect_same_bits(a.out, b.out, what + ", output");
  ASSERT_EQ(a.input_grads.size(), b.input_grads.size());
  for (size_t i = 0; i < a.input_grads.size(); ++i) {
    expect_same_bits(a.input_grads[i], b.input_grads[i], what + ", gradient of input " + std::to_string(i));
  }
  ASSERT_EQ(a.parameter_grads.size(), b.parameter_grads.size());
  for (const auto& [name, grad] : a.parameter_grads) {
    ASSERT_TRUE(b.parameter_grads.count(name)) << name;
    expect_same_bits(grad, b.parameter_grads.at(name), what + ", gradient of " + name);
  }
}

void expect_thread_free(const std::function<Pass()>& f, const std::string& what) {
  set_num_threads(1);
  const Pass one = f();
  for (const int threads : {2, 3, 16}) {
    set_num_threads(threads);
    expect_same_bits(one, f(), what + " with " + std::to_string(threads) + " threads");
  }
  set_num_threads(0);
}

void expect_no_neighbours(ParameterStore& store, const std::vector<int32_t>& lengths, int64_t width,
                          const std::function<Forward(const Batch&)>& layer, TapeOptions options,
                          const std::string& what) {
  const Batch batch(lengths, 50);
  const Matrix x = random_matrix(batch.num_rows(), width, "x"),
               dy = random_matrix(batch.num_rows(), width, "dy");
  const Pass whole = run_pass(store, {x}, layer(batch), options, &dy);
  for (size_t s = 0; s < lengths.size(); ++s) {
    const Batch alone({lengths[s]}, batch.example(s));
    const int64_t first = batch.begin(s), n = lengths[s];
    const Matrix weights = rows_of(dy, first, n);
    const Pass one = run_pass(store, {rows_of(x, first, n)}, layer(alone), options, &weights);
    const std::string name = what + " sequence " + std::to_string(s);
    expect_same_bits(one.out, rows_of(whole.out, first, n), name);
    expect_same_bits(one.input_grads[0], rows_of(whole.input_grads[0], first, n), name + " gradient");
  }
}

}  // namespace graft::engine::test
