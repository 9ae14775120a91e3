// Ragged attention, forward and backward, against its plain twin and finite differences.
#include <cmath>

#include "engine/plain_twins.h"
#include "support/shared.h"

namespace graft::engine::test {
namespace {

const std::vector<int32_t> kLengths = {1, 2, 5, 13, 40, 300, 700};

struct Case {
  const char* name;
  bool causal = false;
  int32_t window = -1;
  float dropout = 0;
  bool subset = false;
};
constexpr Case kCases[] = {{"full"},
                           {"causal", true},
                           {"window", false, 7},
                           {"causal window", true, 3},
                           {"dropout", false, -1, 0.1f},
                           {"subset", false, -1, 0.1f, true},
                           {"causal subset", true, -1, 0, true}};

// First row of every sequence, and every 37th row.
std::vector<int32_t> some_rows(const Batch& batch) {
  std::vector<int32_t> rows;
  const Rows all = batch.rows();
  for (int32_t r = 0; r < batch.num_rows(); ++r) {
    if (all.position[r] == 0 || r % 37 == 5) rows.push_back(r);
  }
  return rows;
}

void compare(int64_t heads, int64_t dim, const std::vector<int32_t>& lengths, const Case& c,
             float scale_of_scores = 1) {
  Arena arena;
  ParameterStore store;
  Tape tape(plan_kernels(), arena, store, training());
  const Batch batch(lengths, 17);
  const int64_t T = batch.num_rows(), W = heads * dim;
  const std::vector<int32_t> chosen = some_rows(batch);
  AttentionBackwardArgs b;
  AttentionArgs& a = b.forward;
  a.k_rows = batch.rows();
  a.q_rows = c.subset ? select_rows(tape, batch.rows(), chosen.data(), static_cast<int64_t>(chosen.size()))
                      : batch.rows();
  const int64_t Tq = a.q_rows.num_rows;
  // k and v lie in one fused matrix with columns to spare, as in a projection.
  Matrix q = random_matrix(Tq, W, "q", scale_of_scores), kv = random_matrix(T, 2 * W + 3, "kv"),
         dout = random_matrix(Tq, W, "dout");
  Matrix out(Tq, W, NAN), lse(Tq, heads, NAN), dq(Tq, W, NAN), dkv(T, 2 * W + 3, 7);
  a.q = q.tensor();
  a.k = kv.tensor().columns(1, W);
  a.v = kv.tensor().columns(W + 1, W);
  a.out = out.tensor();
  a.lse = lse.v.data();
  a.num_heads = heads;
  a.head_dim = dim;
  a.scale = 1 / std::sqrt(static_cast<float>(dim));
  a.causal = c.causal;
  a.window = c.window;
  a.dropout.p = c.dropout;
  a.dropout.key = philox_key(3, 4, "attention");
  cpu_kernels().attention(a);
  b.dout = dout.tensor();
  b.dq = dq.tensor();
  b.dk = dkv.tensor().columns(1, W);
  b.dv = dkv.tensor().columns(W + 1, W);
  cpu_kernels().attention_backward(b);

  const twin::Mat k = copy_of(a.k), v = copy_of(a.v);
  const auto want = twin::attention(a, q, k, v);
  const auto grads = twin::attention_backward(a, q, k, v, dout);
  const std::string what = fmt::format("{} heads {} dim {}", c.name, heads, dim);
  // A score's rounding error grows with the score, and is the relative error of its probability: small
  // elements get that much more room.
  const double size = std::max(1.0f, scale_of_scores / 2);
  twin::expect_close(out, want.out, 3e-6, what, size);
  twin::expect_close(lse, want.lse, 1e-6, what + " lse", size);
  twin::expect_close(dq, grads.dq, 1e-5, what + " dq", size);
  twin::expect_close(copy_of(b.dk), grads.dk, 1e-5, what + " dk", size);
  twin::expect_close(copy_of(b.dv), grads.dv, 1e-5, what + " dv", size);
  for (int64_t r = 0; r < T; ++r) {
    for (const int64_t col : {int64_t{0}, 2 * W + 1, 2 * W + 2})
      ASSERT_EQ(dkv.at(r, col), 7) << what << ": wrote outside";
  }
}

TEST(Attention, EqualsTwinHeadDim8) {
  for (const Case& c : kCases) compare(2, 8, kLengths, c);
}
TEST(Attention, EqualsTwinHeadDim10) {
  for (const Case& c : kCases) compare(3, 10, kLengths, c);
}
TEST(Attention, EqualsTwinHeadDim64) {
  for (const Case& c : kCases) compare(1, 64, c.causal ? std::vector<int32_t>{1, 40, 300} : kLengths, c);
}
// Scores far from zero: the running maximum has to move from block to block.
TEST(Attention, LargeScores) {
  for (const Case& c : kCases) compare(1, 16, {3, 280, 600}, c, 8);
}

TEST(Attention, SequenceWithoutQueriesGetsZeroKeyGradients) {
  const Batch batch({3, 2});
  ParameterStore store;
  fill_store(store);
  const std::vector<int32_t> chosen = {0, 2};
  const Matrix q = random_matrix(2, 4, "q"), k = random_matrix(5, 4, "k"), v = random_matrix(5, 4, "v");
  const Pass pass = run_pass(store, {q, k, v}, [&](Tape& t, const std::vector<Var>& in) {
    AttentionOptions o;
    o.head_dim = 4;
    return attention(t, {in[0]}, {in[1]}, {in[2]}, o, "a", select_rows(t, batch.rows(), chosen.data(), 2),
                     batch.rows());
  });
  for (const size_t i : {size_t{1}, size_t{2}}) {
    for (int64_t c = 0; c < 4; ++c) {
      EXPECT_NE(pass.input_grads[i].at(0, c), 0);
      for (const int64_t r : {3, 4}) EXPECT_EQ(pass.input_grads[i].at(r, c), 0);
    }
  }
}

TEST(Attention, FiniteDifferences) {
  const Batch batch({1, 4, 2});
  ParameterStore store;
  fill_store(store);
  for (const Case& c : {Case{"full"}, Case{"causal", true}, Case{"window", false, 1},
                        Case{"dropout", false, -1, 0.3f}, Case{"subset", false, -1, 0.2f, true}}) {
    SCOPED_TRACE(c.name);
    AttentionOptions o;
    o.num_heads = 2;
    o.head_dim = 3;
    o.scale = 0.6f;
    o.causal = c.causal;
    o.window = c.window;
    o.dropout = c.dropout;
    if (c.subset) {
      const std::vector<int32_t> chosen = {0, 3, 4, 6};
      expect_gradients(store, {random_matrix(4, 6, "q"), random_matrix(7, 12, "kv")},
                       [&](Tape& t, const std::vector<Var>& in) {
                         return attention(t, {in[0]}, {in[1], 0}, {in[1], 6}, o, "a",
                                          select_rows(t, batch.rows(), chosen.data(), 4), batch.rows());
                       });
    } else {
      expect_gradients(store, {random_matrix(7, 18, "qkv")}, [&](Tape& t, const std::vector<Var>& in) {
        return attention(t, {in[0], 0}, {in[0], 6}, {in[0], 12}, o, "a", batch.rows(), batch.rows());
      });
    }
  }
}

TEST(Attention, SharedOrHalfReadProjectionsAreTold) {
  const Batch batch({3});
  ParameterStore store;
  fill_store(store);
  AttentionOptions o;
  o.head_dim = 2;
  const auto run = [&](int64_t width, bool shared) {
    return graft::test::error_of([&] {
      run_pass(store, {random_matrix(3, width, "qkv")}, [&](Tape& t, const std::vector<Var>& in) {
        Var y = attention(t, {in[0], 0}, {in[0], 2}, {in[0], 4}, o, "a", batch.rows(), batch.rows());
        bool add = false;
        if (shared) t.grad_of(in[0], add);
        return y;
      });
    });
  };
  EXPECT_THAT(run(8, false), testing::HasSubstr("6 of the 8 columns"));
  EXPECT_THAT(run(6, true), testing::HasSubstr("must not be inputs of another operation"));
}

TEST(SelectRows, KeepsPositionsAndSequences) {
  Arena arena;
  ParameterStore store;
  Tape tape(cpu_kernels(), arena, store, {});
  const Batch batch({3, 1, 4});
  const std::vector<int32_t> rows = {1, 2, 4, 7};
  const Rows r = select_rows(tape, batch.rows(), rows.data(), 4);
  EXPECT_EQ(r.num_rows, 4);
  EXPECT_EQ(r.num_sequences, 3);
  EXPECT_EQ(std::vector<int32_t>(r.cu_seqlens, r.cu_seqlens + 4), (std::vector<int32_t>{0, 2, 2, 4}));
  EXPECT_EQ(std::vector<int32_t>(r.position, r.position + 4), (std::vector<int32_t>{1, 2, 0, 3}));
  EXPECT_EQ(std::vector<int32_t>(r.sequence, r.sequence + 4), (std::vector<int32_t>{0, 0, 2, 2}));
}

// Blocks of keys that no query of a block sees are not read, forward and backward: NaN there stays there.
TEST(Attention, KeysOutsideOfTheWindowAreNotRead) {
  constexpr int64_t kLong = 700, kDim = 8;
  const Batch batch({static_cast<int32_t>(kLong)});
  std::vector<int32_t> last;
  for (int32_t r = kLong - 20; r < kLong; ++r) last.push_back(r);
  for (const bool causal : {false, true}) {
    std::vector<Pass> passes;
    for (const float far : {0.0f, NAN}) {
      ParameterStore store;
      fill_store(store);
      Matrix k = random_matrix(kLong, kDim, "k"), v = random_matrix(kLong, kDim, "v");
      for (int64_t r = 0; r < 512; ++r)  // four blocks of keys; the window begins in the sixth
        for (int64_t c = 0; c < kDim; ++c) k.at(r, c) = v.at(r, c) = far;
      AttentionOptions o;
      o.head_dim = kDim;
      o.window = 30;
      o.causal = causal;
      passes.push_back(
          run_pass(store, {random_matrix(20, kDim, "q"), k, v}, [&](Tape& t, const std::vector<Var>& in) {
            return attention(t, {in[0]}, {in[1]}, {in[2]}, o, "a",
                             select_rows(t, batch.rows(), last.data(), 20), batch.rows());
          }));
    }
    expect_same_bits(passes[0], passes[1], causal ? "causal" : "both sides");
    for (int64_t c = 0; c < kDim; ++c) {
      EXPECT_EQ(passes[1].input_grads[1].at(100, c), 0);
      EXPECT_NE(passes[1].input_grads[2].at(kLong - 30, c), 0);
    }
  }
}

}  // namespace
}  // namespace graft::engine::test
