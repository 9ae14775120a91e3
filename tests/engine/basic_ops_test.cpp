// Basic operations against one-line formulas in double, by finite differences, and composed into a head and a
// loss.
#include "engine/basic_ops.h"

#include <cmath>

#include "engine/plain_twins.h"
#include "support/shared.h"

namespace graft::engine::test {
namespace {

using graft::test::error_of;
using twin::Mat;

class BasicOps : public testing::Test {
 protected:
  void SetUp() override { fill_store(store_); }

  // The output of `f` against `want`, and its gradients against finite differences.
  void check(const std::vector<Matrix>& inputs, const Forward& f, const Mat& want, const std::string& what,
             double tolerance = 2e-3) {
    SCOPED_TRACE(what);
    twin::expect_close(run_forward(store_, inputs, f), want, 5e-7, what);
    expect_gradients(store_, inputs, f, training(), tolerance);
    expect_thread_free([&] { return run_pass(store_, inputs, f); }, what);
  }

  ParameterStore store_;
};

template <class F>
Mat each(int64_t rows, int64_t cols, F f) {
  Mat m(rows, cols);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < cols; ++c) m(r, c) = f(r, c);
  }
  return m;
}

TEST_F(BasicOps, AddSubMulWithEveryShapeThatRepeats) {
  const Matrix a = random_matrix(19, 5, "a");
  for (const auto& [rows, cols] : {std::pair<int64_t, int64_t>{19, 5}, {1, 5}, {19, 1}, {1, 1}}) {
    const Matrix b = random_matrix(rows, cols, "b");
    const auto at = [&, rows = rows, cols = cols](int64_t r, int64_t c) {
      return double{b.at(rows == 1 ? 0 : r, cols == 1 ? 0 : c)};
    };
    const std::string shape = fmt::format(" [{}, {}]", rows, cols);
    check(
        {a, b}, [](Tape& t, const auto& in) { return add(t, in[0], in[1]); },
        each(19, 5, [&](int64_t r, int64_t c) { return a.at(r, c) + at(r, c); }), "add" + shape);
    check(
        {a, b}, [](Tape& t, const auto& in) { return sub(t, in[0], in[1]); },
        each(19, 5, [&](int64_t r, int64_t c) { return a.at(r, c) - at(r, c); }), "sub" + shape);
    check(
        {a, b}, [](Tape& t, const auto& in) { return mul(t, in[0], in[1]); },
        each(19, 5, [&](int64_t r, int64_t c) { return a.at(r, c) * at(r, c); }), "mul" + shape);
  }
  check(
      {a}, [](Tape& t, const auto& in) { return mul(t, in[0], in[0]); },
      each(19, 5, [&](int64_t r, int64_t c) { return double{a.at(r, c)} * a.at(r, c); }), "square");
}

TEST_F(BasicOps, ScaleExpLog) {
  const Matrix x = random_matrix(7, 3, "x");
  Matrix positive = x;
  for (float& v : positive.v) v = 0.5f + v * v;
  check(
      {x}, [](Tape& t, const auto& in) { return scale(t, in[0], -1.5f); },
      each(7, 3, [&](int64_t r, int64_t c) { return -1.5 * x.at(r, c); }), "scale");
  check(
      {x}, [](Tape& t, const auto& in) { return exp(t, in[0]); },
      each(7, 3, [&](int64_t r, int64_t c) { return std::exp(double{x.at(r, c)}); }), "exp");
  check(
      {positive}, [](Tape& t, const auto& in) { return log(t, in[0]); },
      each(7, 3, [&](int64_t r, int64_t c) { return std::log(double{positive.at(r, c)}); }), "log");
}

TEST_F(BasicOps, ActivateEveryKind) {
  Matrix x = random_matrix(7, 3, "x");
  for (float& v : x.v) v += v > 0 ? 0.1f : -0.1f;  // away from relu's kink
  for (const Activation a : {Activation::none, Activation::gelu, Activation::gelu_new, Activation::relu,
                             Activation::silu, Activation::tanh, Activation::sigmoid}) {
    check(
        {x}, [&](Tape& t, const auto& in) { return activate(t, in[0], a); },
        each(7, 3, [&](int64_t r, int64_t c) { return twin::activate(a, x.at(r, c)); }),
        fmt::format("activation {}", static_cast<int>(a)));
  }
}

TEST_F(BasicOps, Matmul) {
  for (const auto& [M, K, N] : {std::array<int64_t, 3>{5, 4, 3}, {1, 7, 2}, {20, 3, 17}}) {
    const Matrix a = random_matrix(M, K, "a"), b = random_matrix(K, N, "b"), bt = random_matrix(N, K, "b");
    check(
        {a, b}, [](Tape& t, const auto& in) { return matmul(t, in[0], in[1]); },
        each(M, N,
             [&](int64_t r, int64_t c) {
               double sum = 0;
               for (int64_t k = 0; k < a.cols; ++k) sum += double{a.at(r, k)} * b.at(k, c);
               return sum;
             }),
        "matmul");
    check(
        {a, bt}, [](Tape& t, const auto& in) { return matmul_transposed(t, in[0], in[1]); },
        each(M, N,
             [&](int64_t r, int64_t c) {
               double sum = 0;
               for (int64_t k = 0; k < a.cols; ++k) sum += double{a.at(r, k)} * bt.at(c, k);
               return sum;
             }),
        "matmul transposed");
  }
  // Gram matrix: one value on both sides.
  expect_gradients(store_, {random_matrix(4, 3, "x")},
                   [](Tape& t, const auto& in) { return matmul_transposed(t, in[0], in[0]); });
  expect_gradients(store_, {random_matrix(3, 3, "x")},
                   [](Tape& t, const auto& in) { return matmul(t, in[0], in[0]); });
}

TEST_F(BasicOps, SoftmaxAndLogSoftmax) {
  const Matrix x = random_matrix(18, 6, "x", 2);
  const auto log_sum = [&](int64_t r) {
    double sum = 0;
    for (int64_t c = 0; c < 6; ++c) sum += std::exp(double{x.at(r, c)});
    return std::log(sum);
  };
  check(
      {x}, [](Tape& t, const auto& in) { return softmax(t, in[0]); },
      each(18, 6, [&](int64_t r, int64_t c) { return std::exp(x.at(r, c) - log_sum(r)); }), "softmax");
  check(
      {x}, [](Tape& t, const auto& in) { return log_softmax(t, in[0]); },
      each(18, 6, [&](int64_t r, int64_t c) { return x.at(r, c) - log_sum(r); }), "log_softmax");
  Matrix huge(1, 3);
  huge.v = {1000, 999, -1000};
  const Matrix y = run_forward(store_, {huge}, [](Tape& t, const auto& in) { return softmax(t, in[0]); });
  EXPECT_NEAR(y.at(0, 0), 1 / (1 + std::exp(-1.0)), 1e-7);
  EXPECT_EQ(y.at(0, 2), 0);
}

TEST_F(BasicOps, Reductions) {
  for (const auto& [R, C] : {std::pair<int64_t, int64_t>{33, 5}, {1, 5}, {33, 1}, {1, 1}}) {
    const Matrix x = random_matrix(R, C, "x");
    for (const bool mean : {false, true}) {
      for (const Over over : {Over::all, Over::rows, Over::columns}) {
        const int64_t rows = over == Over::columns ? R : 1, cols = over == Over::rows ? C : 1;
        Mat want(rows, cols);
        for (int64_t r = 0; r < R; ++r) {
          for (int64_t c = 0; c < C; ++c) {
            want(rows == 1 ? 0 : r, cols == 1 ? 0 : c) +=
                x.at(r, c) / (mean ? static_cast<double>(R * C / (rows * cols)) : 1.0);
          }
        }
        check(
            {x},
            [&](Tape& t, const auto& in) {
              return mean ? reduce_mean(t, in[0], over) : reduce_sum(t, in[0], over);
            },
            want, fmt::format("[{}, {}] over {} mean {}", R, C, static_cast<int>(over), mean));
      }
    }
  }
}

TEST_F(BasicOps, MeanPool) {
  const Batch batch({3, 1, 0, 20});
  const Matrix x = random_matrix(24, 5, "x");
  const Rows rows = batch.rows();
  Mat want(4, 5);
  for (int64_t s = 0; s < 4; ++s) {
    const int64_t begin = rows.cu_seqlens[s], end = rows.cu_seqlens[s + 1];
    for (int64_t r = begin; r < end; ++r) {
      for (int64_t c = 0; c < 5; ++c) want(s, c) += x.at(r, c) / static_cast<double>(end - begin);
    }
  }
  check(
      {x}, [&](Tape& t, const auto& in) { return mean_pool(t, in[0], rows); }, want, "mean_pool");
  EXPECT_THAT(error_of([&] {
                run_forward(store_, {Matrix(3, 2)},
                            [&](Tape& t, const auto& in) { return mean_pool(t, in[0], rows); });
              }),
              testing::HasSubstr("mean_pool: sequence"));
}

TEST_F(BasicOps, NormAndNormalize) {
  const Matrix x = random_matrix(18, 5, "x");
  const auto length = [&](int64_t r) {
    double sum = 0;
    for (int64_t c = 0; c < 5; ++c) sum += double{x.at(r, c)} * x.at(r, c);
    return std::sqrt(sum);
  };
  check(
      {x}, [](Tape& t, const auto& in) { return norm(t, in[0]); },
      each(18, 1, [&](int64_t r, int64_t) { return length(r); }), "norm");
  check(
      {x}, [](Tape& t, const auto& in) { return normalize(t, in[0]); },
      each(18, 5, [&](int64_t r, int64_t c) { return x.at(r, c) / length(r); }), "normalize");
  // Shorter than eps: the divisor is the constant eps.
  check(
      {x}, [](Tape& t, const auto& in) { return normalize(t, in[0], 50.0f); },
      each(18, 5, [&](int64_t r, int64_t c) { return x.at(r, c) / 50; }), "normalize below eps");
  const Matrix zero(2, 5);
  const Pass pass = run_pass(store_, {zero}, [](Tape& t, const auto& in) { return norm(t, in[0]); });
  expect_same_bits(pass.input_grads[0], zero, "norm at zero");
}

TEST_F(BasicOps, LayerNormLeavesItsInputAlone) {
  ParameterStore store;
  const Norm layer{declare(store, "weight", {6}), declare(store, "bias", {6}), 1e-3f};
  fill_store(store);
  const Matrix x = random_matrix(4, 6, "x");
  const auto f = [&](Tape& t, const std::vector<Var>& in) {
    return add(t, layer_norm(t, in[0], layer), in[0]);
  };
  Mat want = twin::residual_norm(x, {}, {}, copy_of(make_tensor(store.value(*layer.weight), 1, 6)),
                                 copy_of(make_tensor(store.value(*layer.bias), 1, 6)), 1e-3)
                 .y;
  for (size_t i = 0; i < want.v.size(); ++i) want.v[i] += x.v[i];
  twin::expect_close(run_forward(store, {x}, f), want, 1e-6, "layer_norm");
  expect_gradients(store, {x}, f);
}

TEST_F(BasicOps, ConcatAndSlice) {
  const Matrix a = random_matrix(17, 3, "a"), b = random_matrix(17, 1, "b"), c = random_matrix(17, 4, "c");
  check(
      {a, b, c},
      [](Tape& t, const auto& in) {
        return concat_columns(t, {in[0], in[1], in[2], in[1]});
      },
      each(17, 9,
           [&](int64_t r, int64_t col) {
             return double{col < 3   ? a.at(r, col)
                           : col < 4 ? b.at(r, 0)
                           : col < 8 ? c.at(r, col - 4)
                                     : b.at(r, 0)};
           }),
      "concat");
  check(
      {c}, [](Tape& t, const auto& in) { return slice_columns(t, in[0], 1, 2); },
      each(17, 2, [&](int64_t r, int64_t col) { return double{c.at(r, col + 1)}; }), "slice");
  // Overlapping slices of one value add up.
  expect_gradients(store_, {c}, [](Tape& t, const auto& in) {
    return mul(t, slice_columns(t, in[0], 0, 3), slice_columns(t, in[0], 1, 3));
  });
}

TEST_F(BasicOps, ShapesThatDoNotFitAreTold) {
  const auto message = [&](const Forward& f) {
    return error_of([&] { run_forward(store_, {Matrix(4, 3), Matrix(2, 3)}, f); });
  };
  EXPECT_THAT(message([](Tape& t, const auto& in) { return add(t, in[0], in[1]); }),
              testing::HasSubstr("add: [2, 3] does not fit [4, 3]"));
  EXPECT_THAT(message([](Tape& t, const auto& in) { return mul(t, in[0], in[1]); }),
              testing::HasSubstr("mul: [2, 3] does not fit [4, 3]"));
  EXPECT_THAT(message([](Tape& t, const auto& in) { return matmul(t, in[0], in[1]); }),
              testing::HasSubstr("matmul: [4, 3] times [2, 3]"));
  EXPECT_THAT(message([](Tape& t, const auto& in) {
                return concat_columns(t, {in[0], in[1]});
              }),
              testing::HasSubstr("2 rows beside 4"));
  EXPECT_THAT(message([](Tape& t, const auto& in) { return slice_columns(t, in[0], 2, 2); }),
              testing::HasSubstr("columns 2 to 4 of 3"));
  EXPECT_THAT(error_of([&] {
                run_forward(store_, {Matrix(4, 3), Matrix(2, 5)},
                            [](Tape& t, const auto& in) { return matmul_transposed(t, in[0], in[1]); });
              }),
              testing::HasSubstr("matmul_transposed: [4, 3] times the transpose of [2, 5]"));
}

// A loss of somebody's own: the in-batch contrastive loss of mean-pooled sentences, from basic operations
// alone.
TEST_F(BasicOps, ComposeIntoAContrastiveLoss) {
  ParameterStore store;
  const Linear project{declare(store, "weight", {4, 5}), declare(store, "bias", {4}), 1};
  fill_store(store, 1);
  const Batch batch({2, 1, 3});
  const Matrix a = random_matrix(6, 5, "a"), b = random_matrix(3, 4, "b");
  Matrix diagonal(3, 3);
  for (int64_t i = 0; i < 3; ++i) diagonal.at(i, i) = -1.0f / 3;
  const Forward f = [&](Tape& t, const std::vector<Var>& in) {
    Var sentences = normalize(t, mean_pool(t, linear(t, in[0], project, Activation::tanh), batch.rows()));
    Var scores = scale(t, matmul_transposed(t, sentences, normalize(t, in[1])), 5);
    return reduce_sum(t, mul(t, log_softmax(t, scores), t.constant(diagonal.tensor())), Over::all);
  };
  expect_gradients(store, {a, b}, f);
  const Pass pass = run_pass(store, {a, b}, f);
  EXPECT_GT(pass.out.at(0, 0), 0);
}

}  // namespace
}  // namespace graft::engine::test
