// A dry run with plan_kernels must predict the arena's peak of the real run exactly, and touch nothing.
#include <cmath>

#include "engine/basic_ops.h"
#include "engine/engine_case.h"

namespace graft::engine::test {
namespace {

constexpr int64_t kHidden = 48;

// Two layers with pruned queries at the end, a tied decoder and a head of basic operations.
struct Model {
  ParameterStore store;
  Embeddings embeddings;
  Linear qkv[2], out[2], up[2], down[2];
  Norm norms[4];

  Model() {
    const auto linear = [&](const std::string& name, int64_t n, int64_t k) {
      return Linear{declare(store, name + ".weight", {n, k}), declare(store, name + ".bias", {n}), 1};
    };
    const auto norm = [&](const std::string& name) {
      return Norm{declare(store, name + ".weight", {kHidden}), declare(store, name + ".bias", {kHidden}),
                  1e-6f};
    };
    Parameter types;
    types.name = "types";
    types.shape = {2, kHidden};
    types.row_sparse = true;
    embeddings = {declare(store, "word", {90, kHidden}), declare(store, "position", {200, kHidden}),
                  &store.add(types), norm("embeddings")};
    for (int i = 0; i < 2; ++i) {
      const std::string layer = "layer" + std::to_string(i);
      qkv[i] = linear(layer + ".qkv", 3 * kHidden, kHidden);
      out[i] = linear(layer + ".out", kHidden, kHidden);
      up[i] = linear(layer + ".up", 2 * kHidden, kHidden);
      down[i] = linear(layer + ".down", kHidden, 2 * kHidden);
      norms[2 * i] = norm(layer + ".first");
      norms[2 * i + 1] = norm(layer + ".second");
    }
  }

  Var encoder_layer(Tape& t, Var x, int i, const Rows& all, const Rows& kept, const int32_t* rows) const {
    AttentionOptions o;
    o.num_heads = 4;
    o.head_dim = kHidden / 4;
    o.scale = 0.3f;
    o.dropout = 0.1f;
    Var p = linear(t, x, qkv[i]), query = nullptr;
    if (rows) {
      query = gather(t, slice_columns(t, p, 0, kHidden), rows, kept.num_rows);
      x = gather(t, x, rows, kept.num_rows);
      p = slice_columns(t, p, kHidden, 2 * kHidden);
    }
    const int64_t keys = query ? 0 : kHidden;
    if (!query) query = p;
    Var context = attention(t, {query, 0}, {p, keys}, {p, keys + kHidden}, o, "attention", kept, all);
    x = residual_norm(t, linear(t, context, out[i]), x, norms[2 * i], 0.1f, "output", kept);
    return residual_norm(t, linear(t, linear(t, x, up[i], Activation::gelu), down[i]), x, norms[2 * i + 1],
                         0.1f, "ffn", kept);
  }

  // Returns the arena's peak. With `loss` null nothing is recorded.
  size_t step(const Kernels& kernels, const Batch& batch, float* loss) {
    const Rows rows = batch.rows();
    const int64_t T = rows.num_rows;
    const auto ids = random_ids(T, 90, "ids"), types = random_ids(T, 2, "types"),
               labels = random_ids(T, 90, "labels");
    std::vector<int32_t> masked;
    for (int32_t r = 0; r < T; r += 4) masked.push_back(r);
    const int64_t n = static_cast<int64_t>(masked.size());
    Arena arena;
    TapeOptions options = training();
    options.record = loss != nullptr;
    Tape t(kernels, arena, store, options);
    Var x = embed(t, embeddings, ids.data(), rows.position, types.data(), 0.1f, "embeddings", rows);
    x = encoder_layer(t, x, 0, rows, rows, nullptr);
    x = encoder_layer(t, x, 1, rows, select_rows(t, rows, masked.data(), n), masked.data());
    Var logits = linear(t, dropout(t, x, 0.1f, "head", select_rows(t, rows, masked.data(), n)),
                        {embeddings.word, nullptr, 1});
    Var ce = cross_entropy(t, logits, labels.data(), static_cast<double>(n));
    Var length = reduce_mean(
        t, norm(t, concat_columns(t, {x, slice_columns(t, exp(t, scale(t, x, 0.1f)), 3, 5)})), Over::all);
    Var total = add(t, ce, mul(t, length, reduce_sum(t, softmax(t, matmul_transposed(t, x, x)), Over::all)));
    if (loss) {
      t.backward(total);
      *loss = *total->data.f32();
    }
    return arena.peak();
  }
};

TEST(Plan, PredictsThePeakExactly) {
  for (const auto& lengths : {std::vector<int32_t>{5, 130, 1, 40}, {1}, {64, 64}}) {
    const Batch batch(lengths);
    Model m;
    fill_store(m.store);
    float loss = 0;
    EXPECT_EQ(m.step(plan_kernels(), batch, nullptr), m.step(cpu_kernels(), batch, nullptr));
    const size_t planned = m.step(plan_kernels(), batch, &loss);
    EXPECT_EQ(planned, m.step(cpu_kernels(), batch, &loss));
    EXPECT_TRUE(std::isfinite(loss));
    EXPECT_GT(planned, static_cast<size_t>(batch.num_rows() * kHidden * 4 * 10));
  }
}

TEST(Plan, TouchesNoParameterAndNeedsNone) {
  const Batch batch({5, 30});
  Model m;
  float loss = 0;
  const size_t before = m.step(plan_kernels(), batch, &loss);  // no values, no gradients
  fill_store(m.store);
  EXPECT_EQ(m.step(plan_kernels(), batch, &loss), before);
  for (const Parameter& p : m.store.parameters()) {
    EXPECT_FALSE(p.has_grad) << p.name;
    if (!p.row_sparse) {
      for (int64_t i = 0; i < p.size; ++i) ASSERT_EQ(m.store.grad(p)[i], 0) << p.name;
    }
  }
  EXPECT_TRUE(m.store.sparse_grad(*m.embeddings.token_type).ids.empty());
}

// What the prediction is for: a bigger batch needs more, a longer one of the same rows the same but for
// attention.
TEST(Plan, GrowsWithTheBatch) {
  Model m;
  float loss = 0;
  EXPECT_LT(m.step(plan_kernels(), Batch({5, 30}), &loss), m.step(plan_kernels(), Batch({5, 30, 30}), &loss));
}

}  // namespace
}  // namespace graft::engine::test
