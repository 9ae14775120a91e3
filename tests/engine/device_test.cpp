// Every operation reaches the device's memory through the device: the same bits on one that the host cannot
// access.
#include "engine/device.h"

#include <gmock/gmock.h>

#include "engine/basic_ops.h"
#include "engine/engine_case.h"
#include "support/foreign_device.h"

namespace graft::engine::test {
namespace {

using graft::test::foreign_counts;
using graft::test::foreign_device;

constexpr int64_t kWidth = 16, kWords = 20;

// One step over the operations that take arrays or tables of the host, with their gradients.
struct Step {
  explicit Step(const Device& device) : store(device) {
    word = declare_rows("word", kWords, true);
    position = declare_rows("position", 64, false);
    norm = {declare(store, "gamma", {kWidth}), declare(store, "beta", {kWidth}), 1e-6f};
    qkv = {declare(store, "qkv", {3 * kWidth, kWidth}), declare(store, "qkv.bias", {3 * kWidth}), 1};
    up = {declare(store, "up", {2 * kWidth, kWidth}), nullptr, 1};
    bias = declare(store, "relative", {8, 2});
    store.adapt(*qkv.weight, {2, 0.5f});
    store.allocate();
    store.allocate_grads();
    for (const Parameter& p : store.parameters()) {
      const HostWrite values = store.write_value(p);
      const Matrix random = random_matrix(1, p.size, p.name, 0.5f);
      std::copy(random.v.begin(), random.v.end(), values.data());
    }
  }

  Parameter* declare_rows(const char* name, int64_t rows, bool sparse) {
    Parameter p;
    p.name = name;
    p.shape = {rows, kWidth};
    p.row_sparse = sparse;
    return &store.add(std::move(p));
  }

  Var forward(Tape& t, const Batch& batch, double& total) const {
    const Rows rows = batch.rows();
    Var x =
        embed(t, {word, position, nullptr, norm}, ids.data(), rows.position, nullptr, 0.1f, "embed", rows);
    AttentionOptions o;
    o.num_heads = 2;
    o.head_dim = kWidth / 2;
    o.dropout = 0.1f;
    o.bias = relative_bias(t, bias, true, 16, 30);
    const Var p = rotary(t, linear(t, x, qkv), 2, rotary_table(t, 1e4, kWidth / 2, 40), rows);
    const Var a = attention(t, {p, 0}, {p, kWidth}, {p, 2 * kWidth}, o, "attention", rows, rows);
    const Stream s = residual_stream(t, a, x, norm, 0.1f, "residual", rows);
    const Var wide = linear(t, s.y, up);
    const Var g = gated(t, {wide, 0}, {wide, kWidth}, kWidth, Activation::gelu);
    const Var some = gather(t, residual_add(t, g, s.z, 0.1f, "add", rows), picked.data(), 6);
    const Var first = dropout(t, some, 0.2f, "head", select_rows(t, rows, picked.data(), 6));
    const Var target = t.constant(t.push(6, kWidth));
    t.kernels().basic({.op = BasicOp::fill, .out = target->data, .alpha = 0.25f});
    const Tensor hot = make_tensor(const_cast<float*>(targets.v.data()), 6, kWidth);
    Var loss = cross_entropy(t, first, labels.data(), 6, &total, {.label_smoothing = 0.1f});
    loss = add(t, loss, kl_divergence(t, first, target, 2, 6, &total));
    loss = add(t, loss, binary_cross_entropy(t, first, hot, 6, &total));
    loss = add(t, loss, squared_error(t, first, hot, 6, &total));
    loss = add(t, loss,
               segment_cross_entropy(t, slice_columns(t, first, 3, 1), segments.data(), in_segment.data(), 2,
                                     2, &total));
    loss = add(t, loss, relation_divergence(t, wide, t.constant(s.z->data), 2, rows, 6, &total));
    return add(t, loss, reduce_mean(t, mean_pool(t, s.z, rows), Over::all));
  }

  // The loss, the sum of its terms and every gradient.
  std::vector<float> outcome() {
    const Batch batch({5, 3, 9});
    Arena plan{Arena::Counting(), store.device()};
    Tape dry(store.device().plan_kernels(), plan, store, training());
    double total = 0.5;
    dry.backward(forward(dry, batch, total));
    EXPECT_EQ(total, 0.5);
    Arena arena(plan.peaks(), store.device());
    Tape t(arena, store, training());
    const Var loss = forward(t, batch, total);
    t.backward(loss);
    EXPECT_EQ(arena.peaks().stack, plan.peaks().stack);
    EXPECT_EQ(arena.peaks().heap, plan.peaks().heap);
    std::vector<float> out = {t.scalar(loss), static_cast<float>(total)};
    for (const Parameter& p : store.parameters()) {
      const HostRead grad = p.row_sparse ? HostRead(store.device(), store.sparse_grad(p).rows.data(),
                                                    store.sparse_grad(p).rows.size())
                                         : store.read_grad(p);
      out.insert(out.end(), grad.begin(), grad.end());
    }
    return out;
  }

  // Keys and values that outlive a step, in memory of the device.
  std::vector<float> cached() {
    FloatBuffer keys(10 * kWidth, store.device());
    const Tensor cache = make_tensor(keys.data(), 10, kWidth);
    const Batch batch({2, 1});
    Arena arena(ArenaSize{}, store.device());
    Tape t(arena, store, {});
    const Var p = linear(
        t, embed(t, {word, nullptr, nullptr, {}}, ids.data(), nullptr, nullptr, 0, "e", batch.rows()), qkv);
    const std::vector<int64_t> at = {4, 0, 7}, begin = {0, 7};
    const std::vector<int32_t> length = {5, 1};
    put_rows(t, {p, kWidth}, at.data(), cache);
    AttentionOptions o;
    o.num_heads = 2;
    o.head_dim = kWidth / 2;
    const Var y = attention_cached(t, {p, 0}, {cache, cache, begin.data(), length.data()}, o, batch.rows());
    const HostRead values(store.device(), y->data.columns(3, 5));
    return {values.begin(), values.end()};
  }

  ParameterStore store;
  Parameter *word, *position, *bias;
  Norm norm;
  Linear qkv, up;
  std::vector<int32_t> ids = random_ids(17, kWords, "ids"), labels = random_ids(6, kWidth, "labels");
  std::vector<int32_t> picked = {0, 3, 4, 8, 9, 16}, segments = {0, 2, 6}, in_segment = {1, 3};
  Matrix targets = random_matrix(6, kWidth, "targets");
};

TEST(Device, AStepHasTheBitsOfTheCpu) {
  graft::test::reset_foreign_counts();
  Step cpu(cpu_device()), foreign(foreign_device());
  const std::vector<float> expected = cpu.outcome();
  EXPECT_EQ(foreign_counts().kernels, 0);
  EXPECT_EQ(foreign.outcome(), expected);
  EXPECT_GT(foreign_counts().kernels, 30);
  EXPECT_THAT(foreign_counts().host_pointers, testing::IsEmpty());
}

TEST(Device, CachedKeysLieOnTheDevice) {
  graft::test::reset_foreign_counts();
  Step cpu(cpu_device()), foreign(foreign_device());
  EXPECT_EQ(foreign.cached(), cpu.cached());
  EXPECT_THAT(foreign_counts().host_pointers, testing::IsEmpty());
}

// The proof itself: the host has no access, and a kernel that is given memory of the host is seen.
TEST(Device, TheForeignOneIsClosed) {
  graft::test::reset_foreign_counts();
  FloatBuffer buffer(10, foreign_device());
  EXPECT_DEATH(buffer.data()[0] = 1, "");
  std::vector<float> host(10, 2.0f);
  foreign_device().kernels().basic(
      {.op = BasicOp::copy, .a = make_tensor(host.data(), 1, 10), .out = make_tensor(buffer.data(), 1, 10)});
  EXPECT_THAT(foreign_counts().host_pointers, testing::ElementsAre("basic"));
  const HostRead read(foreign_device(), buffer.data(), 10);
  EXPECT_EQ(read[9], 2);
}

TEST(Device, TheHostReadsAndWritesCpuMemoryWithoutACopy) {
  FloatBuffer buffer(4, cpu_device());
  const HostWrite write(cpu_device(), buffer.data(), 4);
  const HostRead read(cpu_device(), buffer.data(), 4);
  EXPECT_EQ(write.data(), buffer.data());
  EXPECT_EQ(read.data(), buffer.data());
}

}  // namespace
}  // namespace graft::engine::test
