// A pre-norm layer of the operations that decoders, T5 and ModernBERT need: rotary positions or a position
// bias, RMSNorm, a residual stream, a gated feed-forward part, no biases. Bits, plan and profile.
#include <cmath>
#include <map>

#include "base/threads.h"
#include "engine/basic_ops.h"
#include "engine/plain_twins.h"
#include "engine/profile.h"

namespace graft::engine::test {
namespace {

const std::vector<int32_t> kLengths = {5, 130, 1, 40, 77};  // 253 rows

struct Layer {
  ParameterStore store;
  int64_t hidden;
  Linear qkv, out, wide, narrow;
  Norm first, second;
  Parameter* bias = nullptr;
  AttentionOptions options;
  bool rotates;

  // `rotates`: rotary positions, causal; otherwise a position bias, bidirectional. Heads are narrower than
  // hidden / heads.
  Layer(int64_t hidden, int64_t heads, bool rotates) : hidden(hidden), rotates(rotates) {
    const int64_t dim = hidden / heads - 2, width = heads * dim, inner = 2 * hidden;
    const auto linear = [&](const char* name, int64_t n, int64_t k) {
      return Linear{declare(store, name, {n, k}), nullptr, 1};
    };
    const auto norm = [&](const char* name) {
      return Norm{declare(store, name, {hidden}), nullptr, 1e-6f, NormKind::rms_norm};
    };
    qkv = linear("qkv", 3 * width, hidden);
    out = linear("out", hidden, width);
    wide = linear("wide", 2 * inner, hidden);
    narrow = linear("narrow", hidden, inner);
    first = norm("first");
    second = norm("second");
    if (!rotates) bias = declare(store, "bias", {8, heads});
    options.num_heads = heads;
    options.head_dim = dim;
    options.scale = rotates ? 0.25f : 1;
    options.causal = rotates;
    options.dropout = 0.1f;
    fill_store(store, 1 / std::sqrt(static_cast<float>(hidden)));
  }

  Forward forward(const Batch& batch) {
    return [this, &batch](Tape& t, const std::vector<Var>& in) {
      const Rows rows = batch.rows();
      const int64_t width = options.num_heads * options.head_dim, inner = 2 * hidden;
      AttentionOptions o = options;
      Var p = linear(t, layer_norm(t, in[0], first), qkv);
      if (rotates)
        p = rotary(t, p, 2 * o.num_heads, rotary_table(t, 10000, o.head_dim, 130), rows);
      else
        o.bias = relative_bias(t, bias, true, 64, 130);
      Var context = attention(t, {p, 0}, {p, width}, {p, 2 * width}, o, "attention", rows, rows);
      const Stream s = residual_stream(t, linear(t, context, out), in[0], second, 0.1f, "output", rows);
      Var w = linear(t, s.y, wide);
      Var g = gated(t, {w, 0}, {w, inner}, inner, rotates ? Activation::silu : Activation::gelu_new);
      return residual_add(t, linear(t, g, narrow), s.z, 0.1f, "ffn", rows);
    };
  }
};

TapeOptions training_in(bool bf16) {
  TapeOptions options = training();
  options.bf16 = bf16;
  return options;
}

TEST(PreNormLayer, FiniteDifferences) {
  const Batch batch({1, 3});
  for (const bool rotates : {false, true}) {
    Layer layer(8, 2, rotates);
    expect_gradients(layer.store, {random_matrix(4, 8, "x")}, layer.forward(batch));
  }
}

TEST(PreNormLayer, ThreadsGiveTheSameBits) {
  const Batch batch(kLengths);
  const Matrix x = random_matrix(batch.num_rows(), 96, "x");
  for (const bool rotates : {false, true}) {
    for (const bool bf16 : {false, true}) {
      Layer layer(96, 3, rotates);
      expect_thread_free([&] { return run_pass(layer.store, {x}, layer.forward(batch), training_in(bf16)); },
                         fmt::format("rotary {} bf16 {}", rotates, bf16));
    }
  }
}

TEST(PreNormLayer, ASequenceKeepsItsBitsAmongNeighbours) {
  for (const bool rotates : {false, true}) {
    for (const bool bf16 : {false, true}) {
      Layer layer(96, 3, rotates);
      expect_no_neighbours(
          layer.store, kLengths, 96, [&](const Batch& batch) { return layer.forward(batch); },
          training_in(bf16), fmt::format("rotary {} bf16 {}", rotates, bf16));
    }
  }
}

TEST(PreNormLayer, ThePlanPredictsThePeakExactly) {
  const Batch batch(kLengths);
  const std::vector<int32_t> labels = random_ids(batch.num_rows(), 96, "labels");
  for (const bool rotates : {false, true}) {
    Layer layer(96, 3, rotates);
    const auto peak = [&](const Kernels& kernels) {
      Arena arena;
      Tape t(kernels, arena, layer.store, training());
      Tensor x = t.push(batch.num_rows(), 96);
      if (!t.planning()) std::fill_n(x.f32(), x.size(), 0.5f);
      Var y = layer.forward(batch)(t, {t.result(x, true)});
      Var divergence = kl_divergence(t, y, t.constant(x), 2, 10);
      t.backward(
          add(t, cross_entropy(t, y, labels.data(), 10, nullptr, {.label_smoothing = 0.1f}), divergence));
      layer.store.clear_grads();
      return arena.peak();
    };
    EXPECT_EQ(peak(plan_kernels()), peak(cpu_kernels())) << rotates;
  }
}

TEST(PreNormLayer, TheProfileNamesEveryOperation) {
  const Batch batch({3, 4});
  Layer layer(96, 3, true);
  set_profiling(true);
  run_pass(layer.store, {random_matrix(7, 96, "x")}, layer.forward(batch));
  std::map<std::string, OperationProfile> sums;
  for (const OperationProfile& p : profile()) sums.emplace(p.name, p);
  set_profiling(false);
  EXPECT_EQ(sums.at("rotary").calls, 2);
  EXPECT_EQ(sums.at("rotary").bytes, 2.0 * 2 * 4 * 7 * 6 * 30);
  EXPECT_EQ(sums.at("gated").bytes, 4.0 * 3 * 7 * 192);
  EXPECT_EQ(sums.at("gated_backward").bytes, 4.0 * 5 * 7 * 192);
  EXPECT_EQ(sums.at("residual_norm").calls, 3);
  EXPECT_EQ(sums.at("residual_norm_backward").calls, 3);
}

}  // namespace
}  // namespace graft::engine::test
