// The same bits for 1, 2, 3 and 16 threads, and for a sequence alone or among neighbours: every fused
// operation, and an encoder layer made of them.
#include <cmath>
#include <thread>

#include "base/threads.h"
#include "engine/basic_ops.h"
#include "engine/plain_twins.h"

namespace graft::engine::test {
namespace {

constexpr int64_t kWidth = 96;
const std::vector<int32_t> kLengths = {5, 130, 1, 40, 77, 13, 34};  // 300 rows

struct Layer {
  ParameterStore store;
  Linear qkv, out, up, down;
  Norm first, second;
  AttentionOptions options;
  Layer(int64_t hidden, int64_t heads, int64_t inner) {
    const auto linear = [&](const char* name, int64_t n, int64_t k) {
      return Linear{declare(store, std::string(name) + ".weight", {n, k}),
                    declare(store, std::string(name) + ".bias", {n}), 1};
    };
    const auto norm = [&](const char* name) {
      return Norm{declare(store, std::string(name) + ".weight", {hidden}),
                  declare(store, std::string(name) + ".bias", {hidden}), 1e-12f};
    };
    qkv = linear("qkv", 3 * hidden, hidden);
    out = linear("out", hidden, hidden);
    up = linear("up", inner, hidden);
    down = linear("down", hidden, inner);
    first = norm("first");
    second = norm("second");
    options.num_heads = heads;
    options.head_dim = hidden / heads;
    options.scale = 1 / std::sqrt(static_cast<float>(hidden / heads));
    options.dropout = 0.1f;
    fill_store(store, 1 / std::sqrt(static_cast<float>(hidden)));
  }
  Forward forward(const Batch& batch) {
    return [this, &batch](Tape& t, const std::vector<Var>& in) {
      const Rows rows = batch.rows();
      const int64_t H = in[0]->data.cols;
      Var p = linear(t, in[0], qkv);
      Var context = attention(t, {p, 0}, {p, H}, {p, 2 * H}, options, "attention", rows, rows);
      Var x = residual_norm(t, linear(t, context, out), in[0], first, 0.1f, "output", rows);
      Var y = linear(t, linear(t, x, up, Activation::gelu), down);
      return residual_norm(t, y, x, second, 0.1f, "ffn", rows);
    };
  }
};

TEST(Threads, LinearGivesTheSameBits) {
  ParameterStore store;
  const Linear layer{declare(store, "weight", {515, 130}), declare(store, "bias", {515}), 1};
  fill_store(store);
  const Matrix x = random_matrix(300, 130, "x");
  for (const Activation a : {Activation::none, Activation::gelu, Activation::tanh}) {
    expect_thread_free(
        [&] {
          return run_pass(store, {x}, [&](Tape& t, const auto& in) { return linear(t, in[0], layer, a); });
        },
        "linear");
  }
}

TEST(Threads, NormDropoutAndGatherGiveTheSameBits) {
  const Batch batch(kLengths);
  ParameterStore store;
  const Norm norm{declare(store, "weight", {kWidth}), declare(store, "bias", {kWidth}), 1e-12f};
  fill_store(store);
  const Matrix x = random_matrix(300, kWidth, "x"), r = random_matrix(300, kWidth, "r");
  expect_thread_free(
      [&] {
        return run_pass(store, {x, r}, [&](Tape& t, const auto& in) {
          return residual_norm(t, in[0], in[1], norm, 0.1f, "s", batch.rows());
        });
      },
      "residual_norm");
  const std::vector<int32_t> rows = random_ids(500, 300, "rows");
  expect_thread_free(
      [&] {
        return run_pass(store, {x}, [&](Tape& t, const auto& in) {
          return gather(t, dropout(t, in[0], 0.1f, "s", batch.rows()), rows.data(), 500);
        });
      },
      "dropout and gather");
}

TEST(Threads, EmbeddingAndItsScatterGiveTheSameBits) {
  const Batch batch(kLengths);
  for (const bool sparse : {false, true}) {
    ParameterStore store;
    Parameter word;
    word.name = "word";
    word.shape = {60, kWidth};
    word.row_sparse = sparse;
    Embeddings e;
    e.word = &store.add(word);
    e.position = declare(store, "position", {130, kWidth});
    e.token_type = declare(store, "type", {2, kWidth});
    e.norm = {declare(store, "weight", {kWidth}), declare(store, "bias", {kWidth}), 1e-12f};
    fill_store(store);
    const auto ids = random_ids(300, 60, "ids"), types = random_ids(300, 2, "types");
    expect_thread_free(
        [&] {
          return run_pass(store, {}, [&](Tape& t, const auto&) {
            return embed(t, e, ids.data(), batch.rows().position, types.data(), 0.1f, "s", batch.rows());
          });
        },
        "embed");
  }
}

TEST(Threads, LossesGiveTheSameBits) {
  ParameterStore store;
  fill_store(store);
  const auto labels = random_ids(300, kWidth, "labels");
  Matrix targets = random_matrix(300, kWidth, "targets");
  const Matrix x = random_matrix(300, kWidth, "x");
  expect_thread_free(
      [&] {
        return run_pass(store, {x},
                        [&](Tape& t, const auto& in) { return cross_entropy(t, in[0], labels.data(), 300); });
      },
      "cross entropy");
  expect_thread_free(
      [&] {
        return run_pass(store, {x}, [&](Tape& t, const auto& in) {
          return squared_error(t, in[0], targets.tensor(), 300);
        });
      },
      "squared error");
}

TEST(Threads, OptimizerGivesTheSameBits) {
  const int64_t n = 100003;
  Matrix g = random_matrix(1, n, "g");
  expect_thread_free(
      [&] {
        Pass pass;
        pass.out = random_matrix(1, n, "w");
        Matrix m(1, n), v(1, n);
        UpdateArgs a;
        a.w = pass.out.v.data();
        a.m = m.v.data();
        a.v = v.v.data();
        a.g = g.v.data();
        a.n = n;
        a.lr = 1e-3;
        cpu_kernels().update(a);
        pass.input_grads = {m, v,
                            Matrix(1, 1, static_cast<float>(cpu_kernels().sum_of_squares(g.v.data(), n)))};
        return pass;
      },
      "adamw");
}

// Both precisions: where the CPU has no bf16 products, bf16 is the same sum over rounded operands.
TapeOptions training_in(bool bf16) {
  TapeOptions options = training();
  options.bf16 = bf16;
  return options;
}

TEST(Threads, BertBaseLayerGivesTheSameBits) {
  Layer layer(768, 12, 3072);
  const Batch batch(kLengths);
  const Matrix x = random_matrix(300, 768, "x");
  for (const bool bf16 : {false, true}) {
    expect_thread_free([&] { return run_pass(layer.store, {x}, layer.forward(batch), training_in(bf16)); },
                       bf16 ? "encoder layer in bf16" : "encoder layer");
  }
}

// A pipeline serves many threads from one store: callers at once neither wait for nor disturb each other's
// numbers.
TEST(Threads, CallersAtOnceGetTheSameBits) {
  Layer layer(64, 4, 128);
  const Batch batch(kLengths);
  const Matrix x = random_matrix(300, 64, "x");
  const auto run = [&] { return run_forward(layer.store, {x}, layer.forward(batch)); };
  const Matrix alone = run();
  std::vector<Matrix> outs(12);
  std::vector<std::thread> callers;
  for (size_t i = 0; i < 4; ++i) {
    callers.emplace_back([&, i] {
      set_num_threads(static_cast<int>(i % 2 + 1));
      for (size_t j = i; j < outs.size(); j += 4) outs[j] = run();
    });
  }
  for (std::thread& t : callers) t.join();
  for (const Matrix& out : outs) expect_same_bits(alone, out, "a caller among four");
}

void expect_layer_without_neighbours(int64_t hidden, int64_t heads, bool bf16) {
  Layer layer(hidden, heads, 2 * hidden);
  expect_no_neighbours(
      layer.store, kLengths, hidden, [&](const Batch& batch) { return layer.forward(batch); },
      training_in(bf16), fmt::format("hidden {}{}", hidden, bf16 ? " bf16" : ""));
}

TEST(Neighbours, ASequenceKeepsItsBitsWithDropoutOn) {
  for (const auto& [hidden, heads] : {std::pair<int64_t, int64_t>{64, 4}, {30, 3}, {768, 12}}) {
    expect_layer_without_neighbours(hidden, heads, false);
  }
}

TEST(Neighbours, ASequenceKeepsItsBitsInBf16) {
  for (const auto& [hidden, heads] : {std::pair<int64_t, int64_t>{64, 4}, {30, 3}, {768, 12}}) {
    expect_layer_without_neighbours(hidden, heads, true);
  }
}

TapeOptions forward_only() {
  TapeOptions options = training();
  options.record = false;
  return options;
}

TEST(Neighbours, FirstRowsAloneEqualFirstRowsAmongAll) {
  Layer layer(64, 4, 128);
  const Batch batch(kLengths);
  std::vector<int32_t> firsts;
  for (size_t s = 0; s < kLengths.size(); ++s) firsts.push_back(static_cast<int32_t>(batch.begin(s)));
  const int64_t n = static_cast<int64_t>(firsts.size());
  const Matrix x = random_matrix(300, 192, "qkv");
  const auto context = [&](bool subset) {
    return run_forward(
        layer.store, {x},
        [&](Tape& t, const auto& in) {
          const Rows all = batch.rows();
          if (!subset) {
            return gather(t,
                          attention(t, {in[0], 0}, {in[0], 64}, {in[0], 128}, layer.options, "a", all, all),
                          firsts.data(), n);
          }
          Var q = gather(t, slice_columns(t, in[0], 0, 64), firsts.data(), n);
          return attention(t, {q, 0}, {in[0], 64}, {in[0], 128}, layer.options, "a",
                           select_rows(t, all, firsts.data(), n), all);
        },
        forward_only());
  };
  expect_same_bits(context(false), context(true), "pruned queries");
}

}  // namespace
}  // namespace graft::engine::test
