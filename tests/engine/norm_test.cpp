// residual_norm, dropout and gather against their plain twins and finite differences.
#include <cmath>
#include <set>

#include "engine/plain_twins.h"

namespace graft::engine::test {
namespace {

struct NormLayer {
  ParameterStore store;
  Norm norm;
  explicit NormLayer(int64_t H, float eps = 1e-12f) {
    norm = {declare(store, "LayerNorm.weight", {H}), declare(store, "LayerNorm.bias", {H}), eps};
    fill_store(store);
  }
  Matrix value(const Parameter* p) { return copy_of(make_tensor(store.value(*p), 1, p->size)); }
};

Dropout dropout_of(float p, const char* scope) {
  const TapeOptions o = training();
  Dropout d;
  d.p = p;
  d.key = philox_key(o.seed, o.step, scope);
  return d;
}

// Weight and bias are trained or frozen each for itself.
TEST(ResidualNorm, AFrozenWeightLeavesTheBiasItsGradient) {
  const Batch batch({3, 40});
  const Matrix x = random_matrix(43, 20, "x");
  std::map<std::string, Matrix> both;
  for (const auto& [weight, bias] : {std::pair{true, true}, {false, true}, {true, false}, {false, false}}) {
    NormLayer layer(20, 1e-5f);
    layer.norm.weight->trainable = weight;
    layer.norm.bias->trainable = bias;
    // Twice through the layer: the second gradient is added to the first.
    const Pass pass = run_pass(layer.store, {x}, [&](Tape& t, const std::vector<Var>& in) {
      Var y = residual_norm(t, in[0], nullptr, layer.norm, 0, "a", batch.rows());
      return residual_norm(t, y, nullptr, layer.norm, 0, "b", batch.rows());
    });
    if (weight && bias) both = pass.parameter_grads;
    for (const auto& [name, trained] : {std::pair{"LayerNorm.weight", weight}, {"LayerNorm.bias", bias}}) {
      ASSERT_EQ(pass.parameter_grads.count(name), trained ? 1u : 0u) << name << weight << bias;
      if (trained) expect_same_bits(pass.parameter_grads.at(name), both.at(name), name);
    }
  }
}

TEST(ResidualNorm, EqualsTwin) {
  for (const int64_t H : {1, 5, 32, 100, 768}) {
    for (const float p : {0.0f, 0.1f, 0.5f}) {
      for (const bool has_residual : {true, false}) {
        if (H == 1 && p > 0) continue;
        const Batch batch({3, 1, 40, 29}, int64_t{5} << 33);  // 73 rows: more than two blocks of the sums
        NormLayer layer(H, 1e-5f);
        const Matrix x = random_matrix(73, H, "x"), residual = random_matrix(73, H, "residual");
        std::vector<Matrix> inputs{x};
        if (has_residual) inputs.push_back(residual);
        const Matrix dy = random_matrix(73, H, "dy");
        const Pass got = run_pass(
            layer.store, inputs,
            [&](Tape& t, const std::vector<Var>& in) {
              return residual_norm(t, in[0], has_residual ? in[1] : nullptr, layer.norm, p, "scope",
                                   batch.rows());
            },
            training(), &dy);
        const twin::Mat factors =
            p > 0 ? twin::dropout_factors(dropout_of(p, "scope"), batch.rows(), H) : twin::Mat();
        const twin::Mat gamma = layer.value(layer.norm.weight);
        const auto out = twin::residual_norm(x, has_residual ? twin::Mat(residual) : twin::Mat(), factors,
                                             gamma, layer.value(layer.norm.bias), 1e-5);
        auto grads = twin::norm_backward(out.z, gamma, 1e-5, dy);
        const std::string what = fmt::format("H {} p {} residual {}", H, p, has_residual);
        twin::expect_close(got.out, out.y, 3e-6, what);
        if (has_residual) twin::expect_close(got.input_grads[1], grads.dz, 5e-6, what + " dresidual");
        for (size_t i = 0; p > 0 && i < factors.v.size(); ++i) grads.dz.v[i] *= factors.v[i];
        twin::expect_close(got.input_grads[0], grads.dz, 5e-6, what + " dx");
        twin::expect_close(got.parameter_grads.at("LayerNorm.weight"), grads.dgamma, 3e-6, what + " dgamma");
        twin::expect_close(got.parameter_grads.at("LayerNorm.bias"), grads.dbeta, 3e-6, what + " dbeta");
      }
    }
  }
}

TEST(ResidualNorm, FiniteDifferences) {
  const Batch batch({2, 3});
  for (const float p : {0.0f, 0.3f}) {
    NormLayer layer(6, 1e-3f);
    expect_gradients(layer.store, {random_matrix(5, 6, "x"), random_matrix(5, 6, "residual")},
                     [&](Tape& t, const std::vector<Var>& in) {
                       return residual_norm(t, in[0], in[1], layer.norm, p, "scope", batch.rows());
                     });
  }
}

TEST(ResidualNorm, ALargeMeanLosesNoDigits) {
  NormLayer layer(64);
  Matrix x = random_matrix(4, 64, "x");
  for (float& v : x.v) v += 100;
  const Batch batch({4});
  const Matrix got = run_forward(layer.store, {x}, [&](Tape& t, const std::vector<Var>& in) {
    return residual_norm(t, in[0], nullptr, layer.norm, 0, "scope", batch.rows());
  });
  const auto out =
      twin::residual_norm(x, {}, {}, layer.value(layer.norm.weight), layer.value(layer.norm.bias), 1e-12);
  // The mean of numbers near 100 is known to about 100 * 6e-8.
  twin::expect_close(got, out.y, 2e-5, "mean 100");
}

TEST(DropoutOp, EqualsTwinAndFiniteDifferences) {
  ParameterStore store;
  fill_store(store);
  const Batch batch({3, 1, 9}, 1000);
  for (const int64_t H : {1, 15, 128, 129, 300, 768}) {
    const Matrix x = random_matrix(13, H, "x"), dy = random_matrix(13, H, "dy");
    const auto forward = [&](Tape& t, const std::vector<Var>& in) {
      return dropout(t, in[0], 0.1f, "scope", batch.rows());
    };
    const Pass got = run_pass(store, {x}, forward, training(), &dy);
    const twin::Mat factors = twin::dropout_factors(dropout_of(0.1f, "scope"), batch.rows(), H);
    twin::Mat y = x, dx = dy;
    for (size_t i = 0; i < factors.v.size(); ++i) y.v[i] *= factors.v[i], dx.v[i] *= factors.v[i];
    twin::expect_close(got.out, y, 2e-7, "dropout");
    twin::expect_close(got.input_grads[0], dx, 2e-7, "dropout backward");
    TapeOptions evaluation = training();
    evaluation.training = false;
    expect_same_bits(run_forward(store, {x}, forward, evaluation), x, "no dropout outside training");
  }
  expect_gradients(store, {random_matrix(13, 7, "x")}, [&](Tape& t, const std::vector<Var>& in) {
    return dropout(t, in[0], 0.4f, "scope", batch.rows());
  });
}

TEST(DropoutOp, DropsTheShareItShouldAndKeepsTheMean) {
  const Batch batch({400});
  const twin::Mat f = twin::dropout_factors(dropout_of(0.1f, "scope"), batch.rows(), 768);
  double dropped = 0, sum = 0;
  for (const double x : f.v) dropped += x == 0, sum += x;
  const double n = static_cast<double>(f.v.size());
  // Four standard deviations of a binomial with p = 0.1.
  EXPECT_NEAR(dropped / n, 0.1, 4 * std::sqrt(0.09 / n));
  EXPECT_NEAR(sum / n, 1.0, 4 * std::sqrt(0.09 / n) / 0.9);
}

TEST(DropoutOp, DiffersByScopeStepSeedExampleAndPosition) {
  ParameterStore store;
  fill_store(store);
  const Batch batch({2, 2}), shifted({2, 2}, 1), far({2, 2}, int64_t{1} << 32);
  const Matrix ones(4, 256, 1);
  const auto run = [&](const Batch& b, const char* scope, TapeOptions options) {
    return run_forward(
        store, {ones},
        [&](Tape& t, const std::vector<Var>& in) { return dropout(t, in[0], 0.5f, scope, b.rows()); },
        options);
  };
  TapeOptions options = training(), step = options, seed = options;
  ++step.step;
  ++seed.seed;
  const Matrix base = run(batch, "a", options);
  std::set<std::vector<float>> all{base.v,
                                   run(batch, "b", options).v,
                                   run(batch, "a", step).v,
                                   run(batch, "a", seed).v,
                                   run(shifted, "a", options).v,
                                   run(far, "a", options).v};
  EXPECT_EQ(all.size(), 6u);
  std::set<std::vector<float>> rows;
  for (int64_t r = 0; r < 4; ++r) rows.insert(rows_of(base, r, 1).v);
  EXPECT_EQ(rows.size(), 4u);
}

TEST(Gather, EqualsTwinWithRepeatedRows) {
  ParameterStore store;
  fill_store(store);
  const std::vector<int32_t> rows = {4, 0, 4, 2, 4, 0};
  const Matrix x = random_matrix(5, 33, "x"), dy = random_matrix(6, 33, "dy");
  const auto forward = [&](Tape& t, const std::vector<Var>& in) { return gather(t, in[0], rows.data(), 6); };
  const Pass got = run_pass(store, {x}, forward, training(), &dy);
  Matrix y(6, 33);
  twin::Mat dx(5, 33);
  for (int64_t i = 0; i < 6; ++i) {
    for (int64_t c = 0; c < 33; ++c) {
      y.at(i, c) = x.at(rows[static_cast<size_t>(i)], c);
      dx(rows[static_cast<size_t>(i)], c) += dy.at(i, c);
    }
  }
  expect_same_bits(got.out, y, "gather");
  twin::expect_close(got.input_grads[0], dx, 1e-6, "gather backward");
  expect_gradients(store, {random_matrix(5, 3, "x")}, forward);
  // Two readers of one value: their gradients add.
  expect_gradients(store, {random_matrix(5, 3, "x")}, [&](Tape& t, const std::vector<Var>& in) {
    Var first = gather(t, in[0], rows.data(), 6);
    ParameterStore& s = t.parameters();
    EXPECT_TRUE(s.has_grads());
    return gather(t, first, rows.data(), 3);
  });
}

}  // namespace
}  // namespace graft::engine::test
