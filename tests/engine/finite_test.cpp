// NaN and infinities are never answered with ordinary numbers: each kernel hands them on, and the first
// operation that made one is found.
#include "engine/finite.h"

#include <cmath>

#include "engine/basic_ops.h"
#include "engine/engine_case.h"
#include "support/shared.h"

namespace graft::engine::test {
namespace {

constexpr float kNan = NAN, kInf = INFINITY;
constexpr Activation kActivations[] = {
    Activation::none,       Activation::gelu,      Activation::gelu_new, Activation::relu,
    Activation::silu,       Activation::tanh,      Activation::sigmoid,  Activation::gelu_10,
    Activation::quick_gelu, Activation::mish,      Activation::relu6,    Activation::relu2,
    Activation::leaky_relu, Activation::hardswish, Activation::laplace,  Activation::sqrtsoftplus};

// Whole vectors and the rest behind them.
constexpr int64_t kWidths[] = {1, 3, 16, 37};

TEST(Finite, EveryActivationHandsThemOn) {
  ParameterStore store;
  fill_store(store);
  for (const Activation a : kActivations) {
    for (const int64_t n : kWidths)
      for (const float bad : {kNan, kInf, -kInf}) {
        Matrix x = random_matrix(2, n, "x");
        x.at(1, n - 1) = bad;
        ParameterStore identity;
        Linear layer{declare(identity, "w", {n, n}), nullptr, 1};
        fill_store(identity);
        std::fill_n(identity.value(*layer.weight), n * n, 0.0f);
        for (int64_t i = 0; i < n; ++i) identity.value(*layer.weight)[i * n + i] = 1;
        const Matrix fused = run_forward(
            identity, {x}, [&](Tape& t, const std::vector<Var>& in) { return linear(t, in[0], layer, a); });
        const Matrix basic = run_forward(
            store, {x}, [&](Tape& t, const std::vector<Var>& in) { return activate(t, in[0], a); });
        EXPECT_FALSE(std::isfinite(fused.at(1, n - 1))) << static_cast<int>(a) << " width " << n;
        EXPECT_FALSE(std::isfinite(basic.at(1, n - 1))) << static_cast<int>(a) << " width " << n;
        EXPECT_TRUE(std::isfinite(basic.at(0, n - 1)));
      }
  }
}

// One bad number in q, k or v; the row it reaches is NaN, the others are as they were.
TEST(Finite, AttentionHandsNanAndInfinityOn) {
  const Batch batch({5, 140, 3});
  ParameterStore store;
  fill_store(store);
  AttentionOptions o;
  o.num_heads = 2;
  o.head_dim = 8;
  o.scale = 0.3f;
  const auto run = [&](const Matrix& q, const Matrix& k, const Matrix& v) {
    return run_forward(store, {q, k, v}, [&](Tape& t, const std::vector<Var>& in) {
      return attention(t, {in[0]}, {in[1]}, {in[2]}, o, "a", batch.rows(), batch.rows());
    });
  };
  const Matrix q = random_matrix(148, 16, "q"), k = random_matrix(148, 16, "k"),
               v = random_matrix(148, 16, "v");
  const Matrix good = run(q, k, v);
  for (const int64_t row : {2, 7, 140, 144, 147}) {
    const int64_t sequence_begin = row < 5     ? 0
                                   : row < 145 ? 5
                                               : 145,
                  end = row < 5     ? 5
                        : row < 145 ? 145
                                    : 148;
    for (const float bad : {kNan, kInf, -kInf}) {
      for (int which = 0; which < 3; ++which) {
        Matrix in[3] = {q, k, v};
        in[which].at(row, 9) = bad;  // of head 1
        const Matrix got = run(in[0], in[1], in[2]);
        for (int64_t r = 0; r < 148; ++r) {
          const bool reached = which == 0 ? r == row : r >= sequence_begin && r < end;
          for (const int64_t c : {int64_t{0}, int64_t{7}}) ASSERT_EQ(got.at(r, c), good.at(r, c));
          if (!reached) {
            ASSERT_EQ(got.at(r, 9), good.at(r, 9)) << row << " " << r;
          } else if (which != 1 || std::isnan(bad)) {
            ASSERT_FALSE(std::isfinite(got.at(r, 9)))
                << which << " row " << row << " got " << r << " bad " << bad;
          } else {
            // An infinite key gives scores of both signs: +inf has no softmax, -inf is a key that is not
            // seen.
            ASSERT_TRUE(!std::isfinite(got.at(r, 9)) || (q.at(r, 9) > 0) != (bad > 0)) << r;
          }
        }
      }
    }
  }
}

TEST(Finite, AQueryWhoseScoresAreAllMinusInfinityHasNoSoftmax) {
  const Batch batch({3});
  ParameterStore store;
  fill_store(store);
  AttentionOptions o;
  o.head_dim = 4;
  Matrix q(3, 4, 1), k(3, 4, 1), v(3, 4, 1);
  q.at(1, 0) = -kInf;
  const Matrix out = run_forward(store, {q, k, v}, [&](Tape& t, const std::vector<Var>& in) {
    return attention(t, {in[0]}, {in[1]}, {in[2]}, o, "a", batch.rows(), batch.rows());
  });
  EXPECT_EQ(out.at(0, 0), 1);
  EXPECT_TRUE(std::isnan(out.at(1, 0)));
}

TEST(Finite, NormHandsThemOn) {
  const Batch batch({4});
  for (const float bad : {kNan, kInf, -kInf}) {
    for (const std::string where : {"x", "residual", "weight", "bias"}) {
      ParameterStore store;
      Norm norm{declare(store, "weight", {21}), declare(store, "bias", {21}), 1e-5f};
      fill_store(store);
      Matrix x = random_matrix(4, 21, "x"), residual = random_matrix(4, 21, "residual");
      if (where == "x") x.at(2, 20) = bad;
      if (where == "residual") residual.at(2, 20) = bad;
      if (where == "weight") store.value(*norm.weight)[20] = bad;
      if (where == "bias") store.value(*norm.bias)[20] = bad;
      const Matrix y = run_forward(store, {x, residual}, [&](Tape& t, const std::vector<Var>& in) {
        return residual_norm(t, in[0], in[1], norm, 0, "n", batch.rows());
      });
      EXPECT_FALSE(std::isfinite(y.at(2, 20))) << where << bad;
    }
  }
}

TEST(Finite, LossesAndSoftmaxHandThemOn) {
  ParameterStore store;
  fill_store(store);
  const std::vector<int32_t> labels = {1, 2};
  for (const int64_t n : {3, 16, 37}) {
    for (const float bad : {kNan, kInf}) {
      Matrix x = random_matrix(2, n, "x"), targets(2, n, 0.5f);
      x.at(1, n - 1) = bad;
      const auto scalar = [&](auto f) {
        return run_forward(store, {x}, [&](Tape& t, const std::vector<Var>& in) { return f(t, in[0]); })
            .v.back();
      };
      EXPECT_FALSE(std::isfinite(scalar([&](Tape& t, Var v) {
        return cross_entropy(t, v, labels.data(), 2);
      }))) << n;
      EXPECT_FALSE(std::isfinite(
          scalar([&](Tape& t, Var v) { return binary_cross_entropy(t, v, targets.tensor(), 2); })));
      EXPECT_FALSE(
          std::isfinite(scalar([&](Tape& t, Var v) { return squared_error(t, v, targets.tensor(), 2); })));
      EXPECT_FALSE(std::isfinite(scalar([&](Tape& t, Var v) { return softmax(t, v); })));
      EXPECT_FALSE(std::isfinite(scalar([&](Tape& t, Var v) { return log_softmax(t, v); })));
      EXPECT_FALSE(std::isfinite(scalar([&](Tape& t, Var v) { return normalize(t, v); })));
    }
  }
}

TEST(Finite, Bf16ProductsHandThemOn) {
  for (const float bad : {kNan, kInf}) {
    ParameterStore store;
    Linear layer{declare(store, "w", {70, 40}), declare(store, "b", {70}), 1};
    fill_store(store);
    store.value(*layer.weight)[69 * 40 + 3] = bad;
    store.touch_values();
    TapeOptions options;
    options.bf16 = true;
    const Matrix y = run_forward(
        store, {random_matrix(9, 40, "x")},
        [&](Tape& t, const std::vector<Var>& in) { return linear(t, in[0], layer, Activation::gelu); },
        options);
    EXPECT_FALSE(std::isfinite(y.at(4, 69)));
    EXPECT_TRUE(std::isfinite(y.at(4, 68)));
  }
}

// The diagnosis: finite weights whose numbers overflow, found in the operation where they do.
TEST(FiniteCheck, NamesTheFirstOperationThatOverflows) {
  const Batch batch({3});
  ParameterStore store;
  Linear first{declare(store, "first.weight", {16, 8}), declare(store, "first.bias", {16}), 1};
  const std::vector<Parameter*> group = store.add_group([] {
    std::vector<Parameter> two(2);
    two[0].name = "query.weight", two[1].name = "key.weight";
    two[0].shape = two[1].shape = {16, 16};
    return two;
  }());
  Linear second{group.front(), nullptr, 2};
  fill_store(store);
  const auto find = [&] {
    const FiniteCheck check(store);
    Arena arena;
    Tape tape(check.kernels(), arena, store, {});
    Matrix x = random_matrix(3, 8, "x");
    Var y = linear(tape, linear(tape, tape.constant(x.tensor()), first), second);
    softmax(tape, y);
    return check.first();
  };
  EXPECT_EQ(find(), "");
  store.value(*group[1])[5] = 3e38f;
  store.value(*group[1])[6] = 3e38f;
  std::fill_n(store.value(*first.bias), 16, 1e6f);
  EXPECT_EQ(find(), "linear with key.weight");
  std::fill_n(store.value(*first.weight), 8, 3e38f);
  std::fill_n(store.value(*first.bias), 16, 3e38f);
  EXPECT_EQ(find(), "linear with first.weight");
}

// The forward pass stays finite: 1e-30 * 1e20 * 1e20; the gradient of the first product is 1e20 * 1e20.
TEST(FiniteCheck, NamesTheFirstOperationWhoseGradientOverflows) {
  ParameterStore store;
  std::vector<Linear> layers;
  for (const char* name : {"small.weight", "large.weight", "larger.weight"})
    layers.push_back({declare(store, name, {1, 1}), nullptr, 1});
  store.allocate();
  store.allocate_grads();
  const auto find = [&](std::vector<float> weights) {
    for (size_t i = 0; i < 3; ++i) store.value(*layers[i].weight)[0] = weights[i];
    store.touch_values();
    store.clear_grads();
    FiniteCheck check(store);
    Arena arena;
    TapeOptions options;
    options.record = true;
    Tape tape(check.kernels(), arena, store, options);
    Matrix x(1, 1, 1);
    Var y = tape.constant(x.tensor());
    for (const Linear& layer : layers) y = linear(tape, y, layer);
    EXPECT_TRUE(std::isfinite(tape.scalar(y)));
    EXPECT_EQ(check.first(), "");
    check.begin_backward();
    tape.backward(y);
    EXPECT_EQ(check.first_in_backward(), !check.first().empty());
    return check.first();
  };
  EXPECT_EQ(find({1, 1, 1}), "");
  EXPECT_EQ(find({1e-30f, 1e20f, 1e20f}), "linear_backward with large.weight");
}

}  // namespace
}  // namespace graft::engine::test
