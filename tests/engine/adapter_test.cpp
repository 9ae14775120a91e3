// Low-rank adapters of linear layers: against the plain twin, whose weight is w + scale * b a, finite
// differences, fused parameters of which some have one, bits, the plan of memory.
#include <cmath>

#include "engine/plain_twins.h"
#include "support/shared.h"

namespace graft::engine::test {
namespace {

using testing::HasSubstr;

// Adjacent layers [K] -> [N] that form one, and their weights.
Linear add_parts(ParameterStore& store, int64_t K, int64_t N, int parts, std::vector<Parameter*>& weights) {
  std::vector<Parameter> w, b;
  for (int i = 0; i < parts; ++i) {
    w.emplace_back().name = "part" + std::to_string(i) + ".weight";
    w.back().shape = {N, K};
    b.emplace_back().name = "part" + std::to_string(i) + ".bias";
    b.back().shape = {N};
  }
  weights = store.add_group(std::move(w));
  return {weights[0], store.add_group(std::move(b))[0], parts};
}

// A layer of `parts` fused parameters [N, K], of which those in `adapted` have an adapter.
struct AdaptedLayer {
  int64_t K, N;
  int parts;
  ParameterStore store;
  Linear layer;
  std::vector<Parameter*> weights;

  AdaptedLayer(int64_t K, int64_t N, int parts, const std::vector<int>& adapted, int64_t rank = 3)
      : K(K), N(N), parts(parts) {
    layer = add_parts(store, K, N, parts, weights);
    for (const int i : adapted)
      store.adapt(*weights[static_cast<size_t>(i)], {rank, 0.5f + static_cast<float>(i)});
    fill_store(store, 1 / std::sqrt(static_cast<float>(K)));
  }
  Matrix value(const Parameter& p) { return copy_of(make_tensor(store.value(p), p.rows(), p.cols())); }

  // The weights of all parts, [parts * N, K], with the adapters' products added.
  twin::Mat merged() {
    twin::Mat out(parts * N, K);
    for (int i = 0; i < parts; ++i) {
      const Parameter& p = *weights[static_cast<size_t>(i)];
      const twin::Mat w = value(p);
      for (int64_t n = 0; n < N; ++n)
        for (int64_t k = 0; k < K; ++k) out(i * N + n, k) = w(n, k);
      if (!p.adapter.a) continue;
      const twin::Mat a = value(*p.adapter.a), b = value(*p.adapter.b);
      for (int64_t n = 0; n < N; ++n)
        for (int64_t k = 0; k < K; ++k)
          for (int64_t r = 0; r < a.rows; ++r)
            out(i * N + n, k) += double{p.adapter.scale} * b(n, r) * a(r, k);
    }
    return out;
  }
  Matrix bias() { return copy_of(make_tensor(store.value(*layer.bias), 1, parts * N)); }
  Forward forward(Activation activation = Activation::none) {
    return [=, this](Tape& t, const std::vector<Var>& in) { return linear(t, in[0], layer, activation); };
  }
};

TEST(Adapter, EqualsTwin) {
  for (const Activation activation : {Activation::none, Activation::gelu, Activation::tanh}) {
    for (const auto& [parts, adapted] :
         {std::pair<int, std::vector<int>>{1, {0}}, {3, {0, 2}}, {3, {1}}, {2, {0, 1}}}) {
      AdaptedLayer c(33, 17, parts, adapted);
      const int64_t T = 40;
      const Matrix x = random_matrix(T, c.K, "x"), dy = random_matrix(T, parts * c.N, "dy");
      const Pass got = run_pass(c.store, {x}, c.forward(activation), training(), &dy);
      const twin::Mat w = c.merged();
      const auto out = twin::linear(x, w, c.bias(), activation);
      const auto grads = twin::linear_backward(x, w, out, activation, dy);
      const std::string what = fmt::format("{} parts, activation {}", parts, static_cast<int>(activation));
      twin::expect_close(got.out, out.y, 3e-6, what);
      twin::expect_close(got.input_grads[0], grads.dx, 5e-6, what + " dx");
      twin::expect_close(got.parameter_grads.at("part0.bias"), twin::Mat([&] {
                           Matrix first(1, c.N);
                           for (int64_t n = 0; n < c.N; ++n)
                             first.at(0, n) = static_cast<float>(grads.db(0, n));
                           return first;
                         }()),
                         5e-6, what + " db");
      // a's gradient is scale * b^T dw, b's is scale * dw a^T.
      for (const int i : adapted) {
        const Adapter& adapter = c.weights[static_cast<size_t>(i)]->adapter;
        const twin::Mat a = c.value(*adapter.a), b = c.value(*adapter.b);
        twin::Mat da(a.rows, a.cols), db(b.rows, b.cols);
        for (int64_t n = 0; n < c.N; ++n)
          for (int64_t k = 0; k < c.K; ++k)
            for (int64_t r = 0; r < a.rows; ++r) {
              const double dw = double{adapter.scale} * grads.dw(i * c.N + n, k);
              da(r, k) += b(n, r) * dw;
              db(n, r) += a(r, k) * dw;
            }
        twin::expect_close(got.parameter_grads.at(adapter.a->name), da, 5e-6, what + " da");
        twin::expect_close(got.parameter_grads.at(adapter.b->name), db, 5e-6, what + " db");
      }
      expect_same_bits(got.out, run_forward(c.store, {x}, c.forward(activation)), what + " without a tape");
    }
  }
}

TEST(Adapter, FiniteDifferences) {
  AdaptedLayer one(5, 4, 1, {0}, 2), fused(4, 3, 3, {0, 2}, 2);
  expect_gradients(one.store, {random_matrix(3, 5, "x")}, one.forward(Activation::gelu));
  expect_gradients(fused.store, {random_matrix(3, 4, "x")}, fused.forward());
}

TEST(Adapter, FreezesItsMatrixAndStartsAsTheLayerWithoutIt) {
  AdaptedLayer c(16, 8, 3, {0, 2});
  EXPECT_FALSE(c.weights[0]->trainable);
  EXPECT_TRUE(c.weights[1]->trainable);
  EXPECT_EQ(c.weights[2]->adapter.a->name, "part2.lora_A.weight");
  EXPECT_EQ(c.weights[2]->adapter.b->name, "part2.lora_B.weight");
  EXPECT_EQ(c.weights[2]->adapter.b->init, Init::zeros);
  EXPECT_NEAR(c.weights[2]->adapter.a->init_std, 1 / std::sqrt(48.0), 1e-12);
  c.weights[1]->trainable = false;
  const Matrix x = random_matrix(9, 16, "x");
  const Pass pass = run_pass(c.store, {x}, c.forward());
  for (const char* name : {"part0.weight", "part1.weight", "part2.weight"})
    EXPECT_EQ(pass.parameter_grads.count(name), 0u) << name;
  for (Parameter* w : {c.weights[0], c.weights[2]})
    std::fill_n(c.store.value(*w->adapter.b), w->adapter.b->size, 0.0f);
  const Matrix adapted = run_forward(c.store, {x}, c.forward());
  for (Parameter* w : c.weights) w->adapter = {};
  expect_same_bits(adapted, run_forward(c.store, {x}, c.forward()), "b is zero");
}

TEST(Adapter, HasTheSameBitsForAnyNumberOfThreadsAndWithNeighbours) {
  AdaptedLayer c(96, 32, 3, {0, 2}, 8);
  const Matrix x = random_matrix(150, 96, "x");
  for (const bool bf16 : {false, true}) {
    TapeOptions options = training();
    options.bf16 = bf16;
    expect_thread_free([&] { return run_pass(c.store, {x}, c.forward(Activation::gelu), options); },
                       bf16 ? "bf16" : "fp32");
    expect_no_neighbours(
        c.store, {3, 50, 97}, 96, [&](const Batch&) { return c.forward(Activation::gelu); }, options,
        bf16 ? "bf16" : "fp32");
  }
}

// A decoder's step: few rows, read at the memory's speed.
TEST(Adapter, OfFewRowsEqualsTwin) {
  AdaptedLayer c(96, 64, 3, {0, 2});
  const Matrix x = random_matrix(3, 96, "x");
  TapeOptions options;
  options.by_row = true;
  twin::expect_close(run_forward(c.store, {x}, c.forward(Activation::gelu), options),
                     twin::linear(x, c.merged(), c.bias(), Activation::gelu).y, 3e-6, "by row");
}

// In bf16 the frozen product is rounded, the adapter is not.
TEST(Adapter, IsComputedInFp32BesideABf16Layer) {
  AdaptedLayer c(64, 32, 1, {0}, 4);
  TapeOptions options = training();
  options.bf16 = true;
  const Matrix x = random_matrix(30, 64, "x");
  twin::expect_close(run_pass(c.store, {x}, c.forward(), options).out,
                     twin::linear(x, c.merged(), c.bias(), Activation::none).y, 2e-2, "bf16");
  std::fill_n(c.store.value(*c.layer.weight), c.layer.weight->size, 0.0f);
  c.store.touch_values();
  twin::expect_close(run_pass(c.store, {x}, c.forward(), options).out,
                     twin::linear(x, c.merged(), c.bias(), Activation::none).y, 3e-6, "the adapter alone");
}

TEST(Adapter, ANotANumberReachesTheOutputAndTheGradients) {
  AdaptedLayer c(5, 4, 1, {0});
  c.store.value(*c.layer.weight->adapter.b)[0] = std::nanf("");
  const Pass pass = run_pass(c.store, {random_matrix(2, 5, "x")}, c.forward());
  EXPECT_TRUE(std::isnan(pass.out.at(0, 0)));
  EXPECT_TRUE(std::isnan(pass.input_grads[0].at(1, 0)));
  EXPECT_TRUE(std::isnan(pass.parameter_grads.at("part0.lora_A.weight").at(0, 0)));
}

TEST(Adapter, ThePlanPredictsThePeak) {
  const auto peak = [](const Kernels& kernels, bool bf16) {
    AdaptedLayer c(24, 40, 3, {0, 2});
    Arena arena;
    TapeOptions options = training();
    options.bf16 = bf16;
    Tape t(kernels, arena, c.store, options);
    Tensor x = t.push(77, 24);
    if (!t.planning()) std::fill_n(x.f32(), x.size(), 0.5f);
    const std::vector<int32_t> labels(77, 1);
    const Var y = c.forward(Activation::gelu)(t, {t.result(x, true)});
    t.backward(cross_entropy(t, y, labels.data(), 77));
    return arena.peaks();
  };
  for (const bool bf16 : {false, true}) {
    EXPECT_EQ(peak(plan_kernels(), bf16).stack, peak(cpu_kernels(), bf16).stack) << bf16;
    EXPECT_EQ(peak(plan_kernels(), bf16).heap, peak(cpu_kernels(), bf16).heap) << bf16;
  }
}

TEST(Adapter, WhatCannotHaveOneIsNamed) {
  ParameterStore store;
  Parameter& matrix = *declare(store, "m.weight", {4, 5});
  Parameter& vector = *declare(store, "v", {4});
  Parameter table;
  table.name = "table";
  table.shape = {9, 4};
  table.row_sparse = true;
  Parameter& words = store.add(table);
  using graft::test::error_of;
  EXPECT_THAT(error_of([&] { store.adapt(vector, {2}); }), HasSubstr("v cannot have an adapter"));
  EXPECT_THAT(error_of([&] { store.adapt(words, {2}); }), HasSubstr("table cannot have an adapter"));
  EXPECT_THAT(error_of([&] { store.adapt(matrix, {0}); }), HasSubstr("rank 0"));
  store.adapt(matrix, {2});
  EXPECT_THAT(error_of([&] { store.adapt(matrix, {2}); }), HasSubstr("m.weight has an adapter already"));
  fill_store(store);
  const std::vector<int32_t> labels = {1};
  EXPECT_THAT(error_of([&] {
                run_forward(store, {Matrix(1, 5)}, [&](Tape& t, const std::vector<Var>& in) {
                  return linear_cross_entropy(t, in[0], {&matrix, nullptr, 1}, labels.data(), 1);
                });
              }),
              HasSubstr("m.weight has an adapter"));
}

// A layer whose parts have magnitudes (DoRA) or factors ((IA)3).
struct RescaledLayer {
  ParameterStore store;
  Linear layer;
  std::vector<Parameter*> weights;

  RescaledLayer(int64_t K, int64_t N, int parts,
                const std::function<void(ParameterStore&, Parameter&, int)>& adapt) {
    layer = add_parts(store, K, N, parts, weights);
    for (int i = 0; i < parts; ++i) adapt(store, *weights[static_cast<size_t>(i)], i);
    fill_store(store, 0.5f);
  }
  Forward forward(Activation activation = Activation::none) {
    return [=, this](Tape& t, const std::vector<Var>& in) { return linear(t, in[0], layer, activation); };
  }
};

TEST(Factors, OfOutputsAndOfInputsHaveTheirGradients) {
  for (const bool input : {false, true}) {
    const auto second = [&](ParameterStore& store, Parameter& p, int i) {
      if (i == 1) store.adapt_by_factors(p, input);
    };
    RescaledLayer c(5, 4, 3, second);
    EXPECT_EQ(c.weights[1]->adapter.factors->shape,
              input ? (std::vector<int64_t>{1, 5}) : (std::vector<int64_t>{4, 1}));
    EXPECT_FALSE(c.weights[1]->trainable);
    expect_gradients(c.store, {random_matrix(3, 5, "x")}, c.forward());
    expect_gradients(c.store, {random_matrix(3, 5, "x")}, c.forward(Activation::gelu));
    const Matrix x = random_matrix(3, 5, "x");
    const Matrix y = run_forward(c.store, {x}, c.forward());
    const float* l = c.store.value(*c.weights[1]->adapter.factors);
    double want = input ? 0 : c.store.value(*c.layer.bias)[4];
    for (int64_t k = 0; k < 5; ++k)
      want += double{x.at(2, k)} * double{c.store.value(*c.weights[1])[k]} * (input ? double{l[k]} : 1.0);
    want = input ? want + double{c.store.value(*c.layer.bias)[4]} : want * double{l[0]};
    EXPECT_NEAR(y.at(2, 4), want, 1e-6);
  }
}

TEST(Factors, OfOneChangeNothing) {
  RescaledLayer c(16, 8, 3,
                  [](ParameterStore& store, Parameter& p, int i) { store.adapt_by_factors(p, i == 0); });
  for (Parameter* w : c.weights)
    std::fill_n(c.store.value(*w->adapter.factors), w->adapter.factors->size, 1.0f);
  const Matrix x = random_matrix(9, 16, "x");
  const Matrix adapted = run_forward(c.store, {x}, c.forward());
  for (Parameter* w : c.weights) w->adapter = {};
  twin::expect_close(adapted, run_forward(c.store, {x}, c.forward()), 1e-6, "factors of one");
}

// y = f * (x w^T + scale * x a^T b^T) + bias with f = m / |w + scale b a|, which is a constant of the
// backward pass: a low-rank layer whose w and b have their rows multiplied by f.
TEST(Magnitudes, EqualALowRankLayerOfScaledRows) {
  const int64_t K = 33, N = 17, rank = 3;
  AdapterOptions options{rank, 0.75f};
  RescaledLayer plain(K, N, 1, [&](ParameterStore& store, Parameter& p, int) { store.adapt(p, options); });
  options.magnitude = true;
  RescaledLayer c(K, N, 1, [&](ParameterStore& store, Parameter& p, int) { store.adapt(p, options); });
  Parameter &w = *c.layer.weight, &m = *w.adapter.magnitude;
  std::vector<double> length(N), f(N);
  for (int64_t n = 0; n < N; ++n) {
    double sum = 0;
    for (int64_t k = 0; k < K; ++k) {
      double v = c.store.value(w)[n * K + k];
      for (int64_t r = 0; r < rank; ++r)
        v += 0.75 * double{c.store.value(*w.adapter.b)[n * rank + r]} *
             double{c.store.value(*w.adapter.a)[r * K + k]};
      sum += v * v;
    }
    length[static_cast<size_t>(n)] = std::sqrt(sum);
    f[static_cast<size_t>(n)] = double{c.store.value(m)[n]} / std::sqrt(sum);
  }
  const auto scaled_rows = [&](const Parameter& from, Parameter& to, int64_t cols) {
    for (int64_t i = 0; i < from.size; ++i)
      plain.store.value(to)[i] =
          static_cast<float>(double{c.store.value(from)[i]} * f[static_cast<size_t>(i / cols)]);
  };
  Parameter& pw = *plain.layer.weight;
  scaled_rows(w, pw, K);
  scaled_rows(*w.adapter.b, *pw.adapter.b, rank);
  std::copy_n(c.store.value(*w.adapter.a), rank * K, plain.store.value(*pw.adapter.a));
  std::copy_n(c.store.value(*c.layer.bias), N, plain.store.value(*plain.layer.bias));
  const Matrix x = random_matrix(40, K, "x"), dy = random_matrix(40, N, "dy");
  const Pass got = run_pass(c.store, {x}, c.forward(), training(), &dy),
             want = run_pass(plain.store, {x}, plain.forward(), training(), &dy);
  twin::expect_close(got.out, want.out, 5e-6, "out");
  twin::expect_close(got.input_grads[0], want.input_grads[0], 5e-6, "dx");
  twin::expect_close(got.parameter_grads.at(w.adapter.a->name), want.parameter_grads.at(w.adapter.a->name),
                     5e-6, "da");
  Matrix db = want.parameter_grads.at(w.adapter.b->name), dm(1, N);
  for (int64_t n = 0; n < N; ++n) {
    const auto row = static_cast<size_t>(n);
    for (int64_t r = 0; r < rank; ++r) db.at(n, r) = static_cast<float>(double{db.at(n, r)} * f[row]);
    double sum = 0;
    for (int64_t t = 0; t < 40; ++t)
      sum += double{dy.at(t, n)} *
             (double{want.out.at(t, n)} - double{plain.store.value(*plain.layer.bias)[n]}) / f[row];
    dm.at(0, n) = static_cast<float>(sum / length[row]);
  }
  twin::expect_close(got.parameter_grads.at(w.adapter.b->name), db, 5e-6, "db");
  Matrix got_dm = got.parameter_grads.at(m.name);
  got_dm.rows = 1, got_dm.cols = N;
  twin::expect_close(got_dm, dm, 5e-6, "dm");
  twin::expect_close(got.parameter_grads.at("part0.bias"), want.parameter_grads.at("part0.bias"), 5e-6,
                     "bias");
}

// The dropout of the adapter's input: the same for a sequence in any batch, and in the backward pass.
TEST(Adapter, DropsItsInputByExampleAndPosition) {
  for (const bool magnitude : {false, true}) {
    AdapterOptions options{4, 1, 0.5f, magnitude};
    RescaledLayer c(96, 32, 3, [&](ParameterStore& store, Parameter& p, int i) {
      if (i != 1) store.adapt(p, options);
    });
    const auto forward = [&](const Batch& b) {
      return [&c, rows = b.rows()](Tape& t, const std::vector<Var>& in) {
        t.note_rows(in[0], rows);
        return linear(t, in[0], c.layer);
      };
    };
    expect_no_neighbours(c.store, {3, 50, 97}, 96, forward, training(), "lora_dropout");
    const Batch batch({7});
    const Matrix x = random_matrix(7, 96, "x");
    const Matrix dropped = run_pass(c.store, {x}, forward(batch), training()).out,
                 whole = run_forward(c.store, {x}, forward(batch));
    EXPECT_GT(std::fabs(dropped.at(3, 1) - whole.at(3, 1)), 1e-4);
    EXPECT_EQ(dropped.at(3, 40), whole.at(3, 40));  // of the part without an adapter
  }
}

TEST(Adapter, WithDropoutNeedsToKnowTheRows) {
  RescaledLayer c(5, 4, 1, [](ParameterStore& store, Parameter& p, int) { store.adapt(p, {2, 1, 0.5f}); });
  EXPECT_THAT(graft::test::error_of([&] { run_pass(c.store, {Matrix(2, 5)}, c.forward()); }),
              HasSubstr("part0.weight has dropout"));
}

TEST(ParameterStore, KeepsItsValuesWhenAdaptersAreAddedLater) {
  ParameterStore store;
  Parameter& p = *declare(store, "m.weight", {1500, 1501});  // moved in two pieces
  store.allocate();
  for (int64_t i = 0; i < p.size; ++i) store.value(p)[i] = static_cast<float>(i);
  const std::vector<float> before(store.value(p), store.value(p) + p.size);
  EXPECT_THAT(graft::test::error_of([&] { store.adapt(p, {2}); }),
              HasSubstr("after the store was allocated"));
  store.reopen();
  store.adapt(p, {2});
  store.allocate();
  EXPECT_EQ(std::vector<float>(store.value(p), store.value(p) + p.size), before);
  EXPECT_EQ(store.value(*p.adapter.b)[3], 0);
  store.allocate_grads();
  EXPECT_THAT(graft::test::error_of([&] { store.reopen(); }), HasSubstr("has gradients"));
}

}  // namespace
}  // namespace graft::engine::test
