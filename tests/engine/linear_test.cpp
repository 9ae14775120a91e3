// linear against its plain twin and finite differences: every activation, bias or none, fused parameters,
// sums of gradients over micro-batches, frozen parameters.
#include <cmath>

#include "engine/plain_twins.h"
#include "support/shared.h"

namespace graft::engine::test {
namespace {

constexpr Activation kAll[] = {
    Activation::none,       Activation::gelu,      Activation::gelu_new, Activation::relu,
    Activation::silu,       Activation::tanh,      Activation::sigmoid,  Activation::gelu_10,
    Activation::quick_gelu, Activation::mish,      Activation::relu6,    Activation::relu2,
    Activation::leaky_relu, Activation::hardswish, Activation::laplace,  Activation::sqrtsoftplus};

// Where the slope jumps, finite differences are not it; it is compared with the twin's.
bool has_kink(Activation a) {
  return a == Activation::relu || a == Activation::relu6 || a == Activation::leaky_relu ||
         a == Activation::hardswish;
}

struct Layer {
  ParameterStore store;
  Linear linear;
  Layer(int64_t K, int64_t N, bool bias) {
    linear.weight = declare(store, "weight", {N, K});
    if (bias) linear.bias = declare(store, "bias", {N});
    fill_store(store, 1 / std::sqrt(static_cast<float>(K)));
  }
  Matrix weight() {
    return copy_of(make_tensor(store.value(*linear.weight), linear.weight->rows(), linear.weight->cols()));
  }
  Matrix bias() {
    return linear.bias ? copy_of(make_tensor(store.value(*linear.bias), 1, linear.bias->size)) : Matrix();
  }
  Forward forward(Activation activation) {
    return [=, this](Tape& t, const std::vector<Var>& in) {
      return engine::linear(t, in[0], linear, activation);
    };
  }
};

TEST(Linear, EqualsTwinForEveryActivation) {
  const int64_t shapes[][3] = {{1, 5, 3}, {7, 33, 17}, {40, 64, 96}, {97, 130, 515}};
  for (const auto& [T, K, N] : shapes) {
    for (const Activation activation : kAll) {
      for (const bool bias : {true, false}) {
        Layer layer(K, N, bias);
        const Matrix x = random_matrix(T, K, "x"), dy = random_matrix(T, N, "dy");
        const Pass got = run_pass(layer.store, {x}, layer.forward(activation), training(), &dy);
        const twin::Mat w = layer.weight();
        const auto out = twin::linear(x, w, layer.bias(), activation);
        const auto grads = twin::linear_backward(x, w, out, activation, dy);
        const std::string what =
            fmt::format("T {} K {} N {} activation {}", T, K, N, static_cast<int>(activation));
        twin::expect_close(got.out, out.y, 2e-6, what);
        twin::expect_close(got.input_grads[0], grads.dx, 3e-6, what + " dx");
        twin::expect_close(got.parameter_grads.at("weight"), grads.dw, 3e-6, what + " dw");
        if (bias) twin::expect_close(got.parameter_grads.at("bias"), grads.db, 3e-6, what + " db");
        expect_same_bits(got.out, run_forward(layer.store, {x}, layer.forward(activation)),
                         what + " without a tape");
      }
    }
  }
}

// A wide range, where the vector functions could lose digits or overflow.
TEST(Linear, ActivationsHoldFarFromZero) {
  ParameterStore store;
  Linear layer{declare(store, "weight", {1, 1}), nullptr, 1};
  fill_store(store);
  store.value(*layer.weight)[0] = 1;
  Matrix x(4001, 1);
  for (int64_t i = 0; i < x.rows; ++i) x.at(i, 0) = static_cast<float>(i - 2000) * 0.05f;
  const Matrix ones(x.rows, 1, 1);
  for (const Activation activation : kAll) {
    const Pass got = run_pass(
        store, {x}, [&](Tape& t, const auto& in) { return linear(t, in[0], layer, activation); }, training(),
        &ones);
    for (int64_t i = 0; i < x.rows; ++i) {
      const double v = x.at(i, 0), y = twin::activate(activation, v),
                   slope = twin::activate_slope(activation, v);
      EXPECT_NEAR(got.out.at(i, 0), y, 1e-6 * std::max(1.0, std::fabs(y)))
          << static_cast<int>(activation) << " at " << v;
      EXPECT_NEAR(got.input_grads[0].at(i, 0), slope, 2e-6)
          << static_cast<int>(activation) << " slope at " << v;
    }
  }
}

TEST(Linear, FiniteDifferences) {
  for (const Activation activation : kAll) {
    if (has_kink(activation)) continue;
    Layer layer(5, 4, true);
    expect_gradients(layer.store, {random_matrix(3, 5, "x")}, layer.forward(activation));
  }
}

TEST(Linear, NeighboursInTheStoreAreOneMatrix) {
  ParameterStore store;
  const auto make = [](const char* name, std::vector<int64_t> shape) {
    Parameter p;
    p.name = name;
    p.shape = std::move(shape);
    return p;
  };
  const auto w =
      store.add_group({make("q.weight", {6, 5}), make("k.weight", {6, 5}), make("v.weight", {6, 5})});
  const auto b = store.add_group({make("q.bias", {6}), make("k.bias", {6}), make("v.bias", {6})});
  fill_store(store);
  const Matrix x = random_matrix(9, 5, "x"), dy = random_matrix(9, 18, "dy");
  const Pass fused = run_pass(
      store, {x},
      [&](Tape& t, const auto& in) {
        return linear(t, in[0], {w[0], b[0], 3});
      },
      training(), &dy);
  for (size_t i = 0; i < 3; ++i) {
    Matrix part(9, 6);
    for (int64_t r = 0; r < 9; ++r)
      std::copy_n(&dy.v[static_cast<size_t>(r * 18) + 6 * i], 6, &part.v[static_cast<size_t>(r * 6)]);
    const Pass single = run_pass(
        store, {x},
        [&](Tape& t, const auto& in) {
          return linear(t, in[0], {w[i], b[i], 1});
        },
        training(), &part);
    for (int64_t r = 0; r < 9; ++r) {
      for (int64_t c = 0; c < 6; ++c)
        EXPECT_NEAR(fused.out.at(r, static_cast<int64_t>(6 * i) + c), single.out.at(r, c), 1e-6);
    }
    for (const std::string& name : {w[i]->name, b[i]->name}) {
      twin::expect_close(fused.parameter_grads.at(name), single.parameter_grads.at(name), 1e-6, name);
    }
  }
  EXPECT_THAT(graft::test::error_of([&] {
                run_forward(store, {x}, [&](Tape& t, const auto& in) {
                  return linear(t, in[0], {w[0], nullptr, 4});
                });
              }),
              testing::HasSubstr("q.bias does not lie next to q.weight"));
}

TEST(Linear, RefusesAnInputOfAnotherWidth) {
  Layer layer(5, 4, true);
  EXPECT_THAT(graft::test::error_of(
                  [&] { run_forward(layer.store, {Matrix(3, 6)}, layer.forward(Activation::none)); }),
              testing::HasSubstr("weight: [4, 5] does not fit an input of width 6"));
}

TEST(Linear, GradientsOfMicroBatchesAdd) {
  Layer layer(33, 17, true);
  const Matrix x = random_matrix(24, 33, "x"), dy = random_matrix(24, 17, "dy");
  const Pass whole = run_pass(layer.store, {x}, layer.forward(Activation::gelu), training(), &dy);
  Arena arena;
  for (int64_t part = 0; part < 3; ++part) {
    arena.reset();
    Tape tape(cpu_kernels(), arena, layer.store, training());
    Matrix xs = rows_of(x, part * 8, 8), weights = rows_of(dy, part * 8, 8);
    Var y = engine::linear(tape, tape.constant(xs.tensor()), layer.linear, Activation::gelu);
    Tensor sum = tape.push(1, 1);
    *sum.f32() = 0;
    Var loss = tape.result(sum, true);
    tape.on_backward(loss, [=, w = weights.tensor()](Tape& t) {
      bool add = false;
      Tensor g = t.grad_of(y, add);
      std::copy_n(w.f32(), g.size(), g.f32());
    });
    tape.backward(loss);
  }
  for (const char* name : {"weight", "bias"}) {
    const Parameter* p = layer.store.find(name);
    twin::expect_close(copy_of(make_tensor(layer.store.grad(*p), p->rows(), p->cols())),
                       whole.parameter_grads.at(name), 1e-6, name);
  }
}

TEST(Linear, FrozenParametersGetNoGradient) {
  Layer layer(5, 4, true);
  const Matrix x = random_matrix(3, 5, "x");
  const Pass all = run_pass(layer.store, {x}, layer.forward(Activation::gelu));
  layer.linear.weight->trainable = false;
  const Pass some = run_pass(layer.store, {x}, layer.forward(Activation::gelu));
  EXPECT_FALSE(some.parameter_grads.count("weight"));
  expect_same_bits(all.parameter_grads.at("bias"), some.parameter_grads.at("bias"), "bias");
  expect_same_bits(all.input_grads[0], some.input_grads[0], "dx");
}

}  // namespace
}  // namespace graft::engine::test
