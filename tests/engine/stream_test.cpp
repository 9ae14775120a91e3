// The operations of pre-norm models: the residual stream, RMSNorm and LayerNorm without a bias, embeddings
// without norm or positions, gated activations, rotary positions.
#include <cmath>

#include "engine/basic_ops.h"
#include "engine/plain_twins.h"
#include "support/shared.h"

namespace graft::engine::test {
namespace {

struct NormCase {
  const char* name;
  NormKind kind;
  bool bias;
};
constexpr NormCase kNorms[] = {{"layer_norm", NormKind::layer_norm, true},
                               {"layer_norm without bias", NormKind::layer_norm, false},
                               {"rms_norm", NormKind::rms_norm, false},
                               {"rms_norm with bias", NormKind::rms_norm, true}};

struct NormLayer {
  ParameterStore store;
  Norm norm;
  NormLayer(int64_t H, const NormCase& c, float eps = 1e-5f) {
    norm = {declare(store, "norm.weight", {H}), c.bias ? declare(store, "norm.bias", {H}) : nullptr, eps,
            c.kind};
    fill_store(store);
  }
  twin::Mat value(const Parameter* p) {
    return p ? twin::Mat(copy_of(make_tensor(store.value(*p), 1, p->size))) : twin::Mat();
  }
};

twin::Mat factors_of(float p, const char* scope, const Batch& batch, int64_t H) {
  Dropout d;
  d.p = p;
  d.key = philox_key(training().seed, training().step, scope);
  return p > 0 ? twin::dropout_factors(d, batch.rows(), H) : twin::Mat();
}

// z and y side by side: the weights of the loss are the gradients of both.
Forward stream_of(const NormLayer& layer, const Batch& batch, float p, bool residual) {
  return [&layer, &batch, p, residual](Tape& t, const std::vector<Var>& in) {
    const Stream s =
        residual_stream(t, in[0], residual ? in[1] : nullptr, layer.norm, p, "scope", batch.rows());
    return concat_columns(t, {s.z, s.y});
  };
}

Matrix columns_of(const Matrix& m, int64_t first, int64_t count) {
  Matrix out(m.rows, count);
  for (int64_t r = 0; r < m.rows; ++r)
    for (int64_t c = 0; c < count; ++c) out.at(r, c) = m.at(r, first + c);
  return out;
}

TEST(ResidualStream, EqualsTwin) {
  const Batch batch({3, 1, 40, 29});  // 73 rows: more than two blocks of the sums
  for (const NormCase& c : kNorms) {
    for (const int64_t H : {5, 32, 100}) {
      for (const float p : {0.0f, 0.1f}) {
        for (const bool residual : {false, true}) {
          NormLayer layer(H, c);
          const Matrix x = random_matrix(73, H, "x"), r = random_matrix(73, H, "residual"),
                       weights = random_matrix(73, 2 * H, "dzdy");
          std::vector<Matrix> inputs{x};
          if (residual) inputs.push_back(r);
          const Pass got =
              run_pass(layer.store, inputs, stream_of(layer, batch, p, residual), training(), &weights);
          const twin::Mat factors = factors_of(p, "scope", batch, H), gamma = layer.value(layer.norm.weight);
          const auto out = twin::residual_norm(x, residual ? twin::Mat(r) : twin::Mat(), factors, gamma,
                                               layer.value(layer.norm.bias), 1e-5, c.kind);
          auto grads = twin::norm_backward(out.z, gamma, 1e-5, columns_of(weights, H, H), c.kind);
          const twin::Mat dz = columns_of(weights, 0, H);
          for (size_t i = 0; i < dz.v.size(); ++i) grads.dz.v[i] += dz.v[i];
          const std::string what = fmt::format("{} H {} p {} residual {}", c.name, H, p, residual);
          twin::expect_close(columns_of(got.out, 0, H), out.z, 1e-6, what + " z");
          twin::expect_close(columns_of(got.out, H, H), out.y, 3e-6, what + " y");
          if (residual) twin::expect_close(got.input_grads[1], grads.dz, 5e-6, what + " dresidual");
          for (size_t i = 0; i < factors.v.size(); ++i) grads.dz.v[i] *= factors.v[i];
          twin::expect_close(got.input_grads[0], grads.dz, 5e-6, what + " dx");
          twin::expect_close(got.parameter_grads.at("norm.weight"), grads.dgamma, 3e-6, what + " dgamma");
          ASSERT_EQ(got.parameter_grads.count("norm.bias"), c.bias ? 1u : 0u);
          if (c.bias)
            twin::expect_close(got.parameter_grads.at("norm.bias"), grads.dbeta, 3e-6, what + " dbeta");
        }
      }
    }
  }
}

TEST(ResidualStream, FiniteDifferences) {
  const Batch batch({2, 3});
  for (const NormCase& c : kNorms) {
    NormLayer layer(6, c, 1e-3f);
    expect_gradients(layer.store, {random_matrix(5, 6, "x"), random_matrix(5, 6, "residual")},
                     stream_of(layer, batch, 0.3f, true));
  }
}

// The post-norm operation is the same path: y and its gradients have its bits where nothing reads z.
TEST(ResidualStream, YAloneHasTheBitsOfResidualNorm) {
  const Batch batch({3, 40});
  for (const NormCase& c : kNorms) {
    NormLayer layer(33, c);
    const std::vector<Matrix> inputs = {random_matrix(43, 33, "x"), random_matrix(43, 33, "residual")};
    const Pass stream = run_pass(layer.store, inputs, [&](Tape& t, const std::vector<Var>& in) {
      return residual_stream(t, in[0], in[1], layer.norm, 0.1f, "scope", batch.rows()).y;
    });
    const Pass post = run_pass(layer.store, inputs, [&](Tape& t, const std::vector<Var>& in) {
      return residual_norm(t, in[0], in[1], layer.norm, 0.1f, "scope", batch.rows());
    });
    expect_same_bits(stream, post, c.name);
  }
}

TEST(ResidualStream, ZAloneIsResidualAdd) {
  const Batch batch({3, 40});
  NormLayer layer(33, kNorms[0]);
  const std::vector<Matrix> inputs = {random_matrix(43, 33, "x"), random_matrix(43, 33, "residual")};
  const Matrix dz = random_matrix(43, 33, "dz");
  const Pass stream = run_pass(
      layer.store, inputs,
      [&](Tape& t, const std::vector<Var>& in) {
        return residual_stream(t, in[0], in[1], layer.norm, 0.1f, "scope", batch.rows()).z;
      },
      training(), &dz);
  const Pass sum = run_pass(
      layer.store, inputs,
      [&](Tape& t, const std::vector<Var>& in) {
        return residual_add(t, in[0], in[1], 0.1f, "scope", batch.rows());
      },
      training(), &dz);
  expect_same_bits(stream.out, sum.out, "z");
  for (size_t i = 0; i < 2; ++i) expect_same_bits(stream.input_grads[i], sum.input_grads[i], "gradient");
  expect_same_bits(sum.input_grads[1], dz, "the residual passes the gradient on");
  twin::Mat dx = dz;
  const twin::Mat factors = factors_of(0.1f, "scope", batch, 33);
  for (size_t i = 0; i < dx.v.size(); ++i) dx.v[i] *= factors.v[i];
  twin::expect_close(sum.input_grads[0], dx, 1e-6, "dx");
}

// A pre-norm block: the stream is read by the norm, by the next sum and by a second reader.
TEST(ResidualStream, GradientsOfAllReadersAdd) {
  const Batch batch({2, 3});
  NormLayer layer(6, kNorms[2], 1e-3f);
  expect_gradients(layer.store, {random_matrix(5, 6, "x"), random_matrix(5, 6, "residual")},
                   [&](Tape& t, const std::vector<Var>& in) {
                     const Var normed = layer_norm(t, in[1], layer.norm);
                     const Stream s = residual_stream(t, scale(t, mul(t, in[0], normed), 0.5f), in[1],
                                                      layer.norm, 0.2f, "first", batch.rows());
                     const Var z = residual_add(t, scale(t, s.y, 0.3f), s.z, 0.2f, "second", batch.rows());
                     return add(t, z, s.z);
                   });
}

TEST(ResidualStream, BadNumbersAreHandedOn) {
  const Batch batch({4});
  for (const NormCase& c : kNorms) {
    for (const float bad : {NAN, INFINITY}) {
      NormLayer layer(21, c);
      Matrix x = random_matrix(4, 21, "x"), residual = random_matrix(4, 21, "residual");
      x.at(2, 20) = bad;
      const Matrix got = run_forward(layer.store, {x, residual}, stream_of(layer, batch, 0, true));
      EXPECT_FALSE(std::isfinite(got.at(2, 20))) << c.name;
      EXPECT_FALSE(std::isfinite(got.at(2, 41))) << c.name;
      EXPECT_TRUE(std::isfinite(got.at(1, 41))) << c.name;
    }
  }
}

struct Tables {
  ParameterStore store;
  Embeddings e;
  std::vector<int32_t> ids = random_ids(43, 20, "ids"), positions = random_ids(43, 9, "positions"),
                       types = random_ids(43, 2, "types");
  Tables(bool position, bool type, const NormCase* norm) {
    e.word = declare(store, "word", {20, 24});
    if (position) e.position = declare(store, "position", {9, 24});
    if (type) e.token_type = declare(store, "type", {2, 24});
    if (norm)
      e.norm = {declare(store, "norm.weight", {24}), norm->bias ? declare(store, "norm.bias", {24}) : nullptr,
                1e-5f, norm->kind};
    fill_store(store);
  }
  Forward forward(const Batch& batch, float p) {
    return [this, &batch, p](Tape& t, const std::vector<Var>&) {
      return embed(t, e, ids.data(), e.position ? positions.data() : nullptr,
                   e.token_type ? types.data() : nullptr, p, "e", batch.rows());
    };
  }
};

TEST(Embed, WithAndWithoutNormPositionsAndTypes) {
  const Batch batch({3, 40});
  for (const bool position : {false, true}) {
    for (const bool type : {false, true}) {
      for (const NormCase* norm : {static_cast<const NormCase*>(nullptr), &kNorms[1], &kNorms[2]}) {
        Tables m(position, type, norm);
        const Matrix dy = random_matrix(43, 24, "dy");
        const Pass got = run_pass(m.store, {}, m.forward(batch, 0.1f), training(), &dy);
        twin::Mat sum(43, 24);
        const auto each = [&](auto f) {
          for (int64_t r = 0; r < 43; ++r)
            for (int64_t c = 0; c < 24; ++c) f(r, c);
        };
        const auto row = [&](const Parameter* p, const std::vector<int32_t>& ids, int64_t r) {
          return m.store.value(*p) + ids[static_cast<size_t>(r)] * 24;
        };
        each([&](int64_t r, int64_t c) {
          sum(r, c) = double{row(m.e.word, m.ids, r)[c]};
          if (position) sum(r, c) += double{row(m.e.position, m.positions, r)[c]};
          if (type) sum(r, c) += double{row(m.e.token_type, m.types, r)[c]};
        });
        const twin::Mat factors = factors_of(0.1f, "e", batch, 24);
        twin::Mat want = sum, g = dy;
        for (size_t i = 0; i < g.v.size(); ++i) g.v[i] *= factors.v[i];
        if (norm) {
          const twin::Mat gamma = copy_of(make_tensor(m.store.value(*m.e.norm.weight), 1, 24));
          want = twin::residual_norm(sum, {}, {}, gamma, {}, 1e-5, norm->kind).y;
          g = twin::norm_backward(sum, gamma, 1e-5, g, norm->kind).dz;
        }
        for (size_t i = 0; i < want.v.size(); ++i) want.v[i] *= factors.v[i];
        const std::string what =
            fmt::format("position {} type {} norm {}", position, type, norm ? norm->name : "none");
        twin::expect_close(got.out, want, 3e-6, what);
        twin::Mat dword(20, 24);
        each([&](int64_t r, int64_t c) { dword(m.ids[static_cast<size_t>(r)], c) += g(r, c); });
        twin::expect_close(got.parameter_grads.at("word"), dword, 5e-6, what + " word");
        EXPECT_EQ(got.parameter_grads.count("position"), position ? 1u : 0u);
        EXPECT_EQ(got.parameter_grads.count("type"), type ? 1u : 0u);
      }
    }
  }
}

TEST(Embed, FiniteDifferencesWithoutNorm) {
  const Batch batch({3, 40});
  Tables m(true, false, nullptr);
  expect_gradients(m.store, {}, m.forward(batch, 0.2f));
}

constexpr Activation kGates[] = {Activation::gelu, Activation::gelu_new, Activation::relu,
                                 Activation::silu, Activation::sigmoid,  Activation::tanh,
                                 Activation::none};

TEST(Gated, EqualsTwinOnHalvesAndOnTwoInputs) {
  ParameterStore store;
  fill_store(store);
  for (const Activation activation : kGates) {
    for (const int64_t n : {1, 5, 16, 37, 256}) {
      const Matrix both = random_matrix(19, 2 * n, "both", 2), dy = random_matrix(19, n, "dy");
      const Matrix a = columns_of(both, 0, n), b = columns_of(both, n, n);
      const twin::Mat want = twin::gated(a, b, activation);
      const auto grads = twin::gated_backward(a, b, activation, dy);
      const std::string what = fmt::format("activation {} width {}", static_cast<int>(activation), n);
      const Pass halves = run_pass(
          store, {both},
          [&](Tape& t, const std::vector<Var>& in) {
            return gated(t, {in[0], 0}, {in[0], n}, n, activation);
          },
          training(), &dy);
      const Pass two = run_pass(
          store, {a, b},
          [&](Tape& t, const std::vector<Var>& in) {
            return gated(t, {in[0], 0}, {in[1], 0}, n, activation);
          },
          training(), &dy);
      twin::expect_close(halves.out, want, 1e-6, what, 4);
      twin::expect_close(columns_of(halves.input_grads[0], 0, n), grads.da, 1e-6, what + " da", 4);
      twin::expect_close(columns_of(halves.input_grads[0], n, n), grads.db, 1e-6, what + " db", 4);
      expect_same_bits(halves.out, two.out, what);
      expect_same_bits(columns_of(halves.input_grads[0], 0, n), two.input_grads[0], what + " da");
      expect_same_bits(columns_of(halves.input_grads[0], n, n), two.input_grads[1], what + " db");
    }
  }
}

TEST(Gated, FiniteDifferencesOfEveryLayout) {
  ParameterStore store;
  fill_store(store);
  const std::vector<Matrix> x = {random_matrix(3, 8, "x")};
  for (const auto& [a, b] : {std::pair<int64_t, int64_t>{0, 4}, {4, 0}, {1, 4}, {2, 2}}) {
    expect_gradients(store, x, [&, a = a, b = b](Tape& t, const std::vector<Var>& in) {
      return gated(t, {in[0], a}, {in[0], b}, a == 0 || b == 0 ? 4 : 3, Activation::silu);
    });
  }
  // A second reader of the projection.
  expect_gradients(store, x, [&](Tape& t, const std::vector<Var>& in) {
    Var y = gated(t, {in[0], 0}, {in[0], 4}, 4, Activation::gelu);
    return add(t, y, slice_columns(t, in[0], 2, 4));
  });
}

TEST(Gated, BadNumbersAreHandedOnAndMisuseIsTold) {
  ParameterStore store;
  fill_store(store);
  for (const Activation activation : kGates) {
    for (const int64_t half : {0, 1}) {
      Matrix x = random_matrix(2, 14, "x");
      x.at(1, half * 7 + 6) = NAN;
      const Matrix y = run_forward(store, {x}, [&](Tape& t, const std::vector<Var>& in) {
        return gated(t, {in[0], 0}, {in[0], 7}, 7, activation);
      });
      EXPECT_TRUE(std::isnan(y.at(1, 6)));
      EXPECT_TRUE(std::isfinite(y.at(1, 5)));
    }
  }
  EXPECT_THAT(graft::test::error_of([&] {
                run_forward(store, {Matrix(2, 7)}, [&](Tape& t, const auto& in) {
                  return gated(t, {in[0], 0}, {in[0], 4}, 4, Activation::gelu);
                });
              }),
              testing::HasSubstr("columns 4 to 8 of [2, 7]"));
}

TEST(Rotary, EqualsTwinAndLeavesOtherColumns) {
  ParameterStore store;
  fill_store(store);
  const Batch batch({5, 130, 1});
  for (const int64_t dim : {2, 10, 64}) {
    const int64_t width = 3 * dim + 5;
    const Matrix x = random_matrix(136, width, "x"), dy = random_matrix(136, width, "dy");
    const auto forward = [&](Tape& t, const std::vector<Var>& in) {
      return rotary(t, in[0], 3, rotary_table(t, 10000, dim, 130), batch.rows());
    };
    const Pass got = run_pass(store, {x}, forward, training(), &dy);
    const twin::Mat want = twin::rotary(x, 3, dim, 10000, batch.rows().position);
    // An angle of up to 130 is known to 130 * 6e-8.
    twin::expect_close(got.out, want, 1e-5, fmt::format("dim {}", dim), 4);
    for (int64_t c = 3 * dim; c < width; ++c) ASSERT_EQ(got.out.at(100, c), x.at(100, c));
    // The gradient is the inverse rotation: rotating it forward gives dy again.
    const twin::Mat back = twin::rotary(got.input_grads[0], 3, dim, 10000, batch.rows().position);
    twin::expect_close(dy, back, 1e-5, fmt::format("dim {} gradient", dim), 4);
  }
}

TEST(Rotary, FiniteDifferencesNanAndMisuse) {
  ParameterStore store;
  fill_store(store);
  const Batch batch({3, 2});
  const auto forward = [&](Tape& t, const std::vector<Var>& in) {
    return rotary(t, scale(t, in[0], 1.5f), 2, rotary_table(t, 100, 4, 3), batch.rows());
  };
  expect_gradients(store, {random_matrix(5, 10, "x")}, forward);
  Matrix x = random_matrix(5, 10, "x");
  x.at(1, 2) = NAN;
  const Matrix y = run_forward(store, {x}, forward);
  EXPECT_TRUE(std::isnan(y.at(1, 0)) && std::isnan(y.at(1, 2)));
  EXPECT_TRUE(std::isfinite(y.at(1, 1)));
  const auto told = [&](int64_t dim, int64_t positions) {
    return graft::test::error_of([&] {
      run_forward(store, {x}, [&](Tape& t, const auto& in) {
        return rotary(t, in[0], 2, rotary_table(t, 100, dim, positions), batch.rows());
      });
    });
  };
  EXPECT_THAT(told(4, 2), testing::HasSubstr("position 2 of 2"));
  EXPECT_THAT(told(6, 3), testing::HasSubstr("2 heads of 6"));
  EXPECT_THAT(told(3, 3), testing::HasSubstr("even size"));
}

}  // namespace
}  // namespace graft::engine::test
