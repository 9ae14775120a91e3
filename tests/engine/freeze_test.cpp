// Frozen parameters: no backward pass below the first trained one, no weight gradient, and the same bits for
// what is trained.
#include <map>

#include "engine/plain_twins.h"
#include "engine/profile.h"
#include "support/shared.h"

namespace graft::engine::test {
namespace {

constexpr int64_t kHidden = 32, kLayers = 3;

// Embeddings, three small post-norm layers and a head.
struct Model {
  ParameterStore store;
  Embeddings embeddings;
  Linear qkv[kLayers], out[kLayers], up[kLayers], down[kLayers], head;
  Norm first[kLayers], second[kLayers];
  std::vector<int32_t> ids = random_ids(14, 20, "ids"), labels = random_ids(14, 5, "labels");
  Batch batch{{5, 9}};

  Model() {
    const auto linear = [&](const std::string& name, int64_t n, int64_t k) {
      return Linear{declare(store, name + ".weight", {n, k}), declare(store, name + ".bias", {n}), 1};
    };
    const auto norm = [&](const std::string& name) {
      return Norm{declare(store, name + ".norm.weight", {kHidden}),
                  declare(store, name + ".norm.bias", {kHidden}), 1e-6f};
    };
    embeddings = {declare(store, "embeddings.word", {20, kHidden}),
                  declare(store, "embeddings.position", {9, kHidden}), nullptr, norm("embeddings")};
    for (int64_t i = 0; i < kLayers; ++i) {
      const std::string name = "layer." + std::to_string(i);
      qkv[i] = linear(name + ".qkv", 3 * kHidden, kHidden);
      out[i] = linear(name + ".out", kHidden, kHidden);
      up[i] = linear(name + ".up", 2 * kHidden, kHidden);
      down[i] = linear(name + ".down", kHidden, 2 * kHidden);
      first[i] = norm(name + ".first");
      second[i] = norm(name + ".second");
    }
    head = linear("head", 5, kHidden);
    for (Parameter& p : store.parameters()) {
      p.part = p.name.starts_with("layer.")  ? Part::layer
               : p.name.starts_with("head.") ? Part::head
                                             : Part::embeddings;
      p.is_linear = p.part != Part::embeddings && p.shape.size() == 2;
    }
    fill_store(store, 0.3f);
  }

  void freeze(const std::string& pattern) {
    for (Parameter* p : store.select(pattern)) p->trainable = false;
  }

  Var logits(Tape& t) const {
    const Rows rows = batch.rows();
    AttentionOptions o;
    o.num_heads = 2;
    o.head_dim = kHidden / 2;
    o.scale = 0.25f;
    o.dropout = 0.1f;
    Var x = embed(t, embeddings, ids.data(), rows.position, nullptr, 0.1f, "embeddings", rows);
    for (int64_t i = 0; i < kLayers; ++i) {
      x = t.segment([this, x, i, o, rows](Tape& tape) -> Tape::Results {
        return {layer(tape, x, i, o, rows), nullptr};
      })[0];
    }
    return linear(t, x, head);
  }
  Var layer(Tape& t, Var x, int64_t i, const AttentionOptions& o, const Rows& rows) const {
    const std::string name = "layer." + std::to_string(i);
    Var p = linear(t, x, qkv[i]);
    Var context = attention(t, {p, 0}, {p, kHidden}, {p, 2 * kHidden}, o, name, rows, rows);
    x = residual_norm(t, linear(t, context, out[i]), x, first[i], 0.1f, name + ".output", rows);
    Var wide = linear(t, x, up[i], Activation::gelu);
    return residual_norm(t, linear(t, wide, down[i]), x, second[i], 0.1f, name + ".ffn", rows);
  }
  Pass run(bool bf16 = false) {
    TapeOptions options = training();
    options.bf16 = bf16;
    return run_pass(
        store, {},
        [&](Tape& t, const std::vector<Var>&) { return cross_entropy(t, logits(t), labels.data(), 14); },
        options);
  }
};

class FreezeTest : public testing::Test {
 protected:
  void SetUp() override { set_profiling(true); }
  void TearDown() override { set_profiling(false); }
  static std::map<std::string, OperationProfile> profiled(Model& m) {
    set_profiling(true);
    m.run();
    std::map<std::string, OperationProfile> out;
    for (const OperationProfile& p : profile()) out.emplace(p.name, p);
    return out;
  }
};

// What is trained has the bits of a run without freezing; what is frozen has no gradient.
void expect_trained_bits(const char* const* patterns, size_t count, bool bf16) {
  Model whole, frozen;
  for (size_t i = 0; i < count; ++i) frozen.freeze(patterns[i]);
  const Pass all = whole.run(bf16), some = frozen.run(bf16);
  expect_same_bits(all.out, some.out, "loss");
  for (const Parameter& p : frozen.store.parameters()) {
    ASSERT_EQ(some.parameter_grads.count(p.name), p.trainable ? 1u : 0u) << p.name;
    if (p.trainable)
      expect_same_bits(all.parameter_grads.at(p.name), some.parameter_grads.at(p.name), p.name);
  }
}

TEST_F(FreezeTest, TrainedParametersKeepTheirBits) {
  const char* const lower[] = {"embeddings.*", "layer.[01].*"};
  const char* const backbone[] = {"embeddings.*", "layer.*"};
  const char* const matrices[] = {"*.weight", "embeddings.word"};  // biases only (BitFit)
  const char* const biases[] = {"*.bias"};
  const char* const middle[] = {"layer.1.*"};
  for (const bool bf16 : {false, true}) {
    expect_trained_bits(lower, 2, bf16);
    expect_trained_bits(backbone, 2, bf16);
    expect_trained_bits(matrices, 2, bf16);
    expect_trained_bits(biases, 1, bf16);
    expect_trained_bits(middle, 1, bf16);
  }
}

TEST_F(FreezeTest, NothingIsComputedBelowTheFirstTrainedParameter) {
  Model m;
  const auto all = profiled(m);
  EXPECT_EQ(all.at("linear_backward").calls, 4 * kLayers + 1);
  EXPECT_EQ(all.at("attention_backward").calls, kLayers);
  EXPECT_EQ(all.at("residual_norm_backward").calls, 2 * kLayers + 1);
  EXPECT_EQ(all.at("scatter").calls, 2);

  m.freeze("embeddings.*");
  m.freeze("layer.[01].*");
  const auto upper = profiled(m);
  EXPECT_EQ(upper.at("linear_backward").calls, 4 + 1);
  EXPECT_EQ(upper.at("attention_backward").calls, 1);
  EXPECT_EQ(upper.at("residual_norm_backward").calls, 2);
  EXPECT_EQ(upper.count("scatter"), 0u);

  m.freeze("layer.*");
  const auto head = profiled(m);
  EXPECT_EQ(head.at("linear_backward").calls, 1);
  EXPECT_EQ(head.count("attention_backward"), 0u);
  EXPECT_EQ(head.count("residual_norm_backward"), 0u);
  // One product: the weight's gradient. The frozen layers get none.
  EXPECT_EQ(head.at("linear_backward").flops, 2.0 * 14 * 5 * kHidden);
}

TEST_F(FreezeTest, AFrozenMatrixGetsNoWeightGradient) {
  Model m;
  const double all = profiled(m).at("linear_backward").flops;
  for (int64_t i = 0; i < kLayers; ++i) m.up[i].weight->trainable = m.down[i].weight->trainable = false;
  EXPECT_EQ(all - profiled(m).at("linear_backward").flops, 2.0 * 2 * kLayers * 14 * 2 * kHidden * kHidden);
}

TEST_F(FreezeTest, ThePlanFollowsAndIsSmaller) {
  Model m;
  const auto peak = [&](const Kernels& kernels) {
    Arena arena;
    Tape t(kernels, arena, m.store, training());
    t.backward(cross_entropy(t, m.logits(t), m.labels.data(), 14));
    m.store.clear_grads();
    return arena.peak();
  };
  const size_t all = peak(plan_kernels());
  m.freeze("embeddings.*");
  m.freeze("layer.[01].*");
  const size_t planned = peak(plan_kernels());
  EXPECT_EQ(planned, peak(cpu_kernels()));
  EXPECT_LT(planned, all);
}

// A layer without trained matrices gives its bf16 copies back; one trained matrix keeps those of all layers.
TEST_F(FreezeTest, FrozenLayersKeepNoBf16Copies) {
  Model m;
  m.freeze("layer.*.weight");
  const auto peak = [&](const Kernels& kernels) {
    TapeOptions options = training();
    options.bf16 = true;
    Arena arena;
    Tape t(kernels, arena, m.store, options);
    t.backward(cross_entropy(t, m.logits(t), m.labels.data(), 14));
    m.store.clear_grads();
    return arena.peak();
  };
  const size_t frozen = peak(plan_kernels());
  EXPECT_EQ(frozen, peak(cpu_kernels()));
  m.down[0].weight->trainable = true;
  const size_t kept = peak(plan_kernels());
  EXPECT_EQ(kept, peak(cpu_kernels()));
  // Of 32 padded rows: the inputs of four products a layer, less those that the first and the last ones need
  // at once.
  constexpr size_t kLayerCopies = 32 * 5 * kHidden * sizeof(uint16_t);
  EXPECT_LE(frozen + (kLayers - 1) * kLayerCopies, kept);
}

TEST_F(FreezeTest, AllFrozenIsTold) {
  Model m;
  m.freeze("*");
  EXPECT_THAT(graft::test::error_of([&] {
                Arena arena;
                Tape t(cpu_kernels(), arena, m.store, training());
                t.backward(cross_entropy(t, m.logits(t), m.labels.data(), 14));
              }),
              testing::AllOf(testing::HasSubstr("no value that needs a gradient"),
                             testing::HasSubstr("train at least one parameter")));
}

}  // namespace
}  // namespace graft::engine::test
