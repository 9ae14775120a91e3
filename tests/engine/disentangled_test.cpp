// Attention with disentangled positions (DeBERTa) against a plain twin.
#include <algorithm>
#include <cmath>

#include "engine/basic_ops.h"
#include "engine/plain_twins.h"
#include "support/shared.h"

namespace graft::engine::test {
namespace {

using twin::Mat;

constexpr int64_t kHeads = 3, kDim = 10, kWidth3 = kHeads * kDim;

AttentionOptions options_with(int64_t heads, int64_t dim, float dropout) {
  AttentionOptions o;
  o.num_heads = heads;
  o.head_dim = dim;
  o.scale = 0.3f;
  o.dropout = dropout;
  return o;
}

// make_log_bucket_position of transformers 5.24 (torch 2.13), of query - key from -300 to 300, with 16
// buckets for distances up to 64, and clamped to the rows of the table.
TEST(RelativeRows, BucketsAreThoseOfTheReference) {
  ParameterStore store;
  Arena arena;
  Tape tape(cpu_kernels(), arena, store, {});
  const RelativeRows rows = log_relative_rows(tape, 16, 64, 100);
  // The distances query - key from which on the table's row changes.
  std::vector<std::pair<int64_t, int32_t>> changes;
  for (int64_t d = 0; d <= 100; ++d) {
    const int32_t id = rows.ids[rows.row[100 - d]];
    if (changes.empty() || changes.back().second != id) changes.emplace_back(d, id);
    if (d > 0 && d < 60) {  // mirrored around row 16
      EXPECT_EQ(rows.ids[rows.row[100 + d]], 32 - id) << d;
    }
  }
  EXPECT_EQ(changes, (std::vector<std::pair<int64_t, int32_t>>{{0, 16},
                                                               {1, 17},
                                                               {2, 18},
                                                               {3, 19},
                                                               {4, 20},
                                                               {5, 21},
                                                               {6, 22},
                                                               {7, 23},
                                                               {8, 24},
                                                               {9, 25},
                                                               {11, 26},
                                                               {15, 27},
                                                               {20, 28},
                                                               {27, 29},
                                                               {35, 30},
                                                               {47, 31}}));
  for (int64_t d = -99; d <= 100; ++d) EXPECT_GE(rows.row[100 + d], rows.row[99 + d]) << d;
  EXPECT_EQ(rows.row[0], 0);
  EXPECT_EQ(rows.row[200], rows.n - 1);
  const RelativeRows plain = log_relative_rows(tape, 0, 64, 3);  // a row for each distance
  EXPECT_EQ(plain.n, 7);
  EXPECT_EQ(plain.ids[plain.row[3]], 64);
  EXPECT_EQ(plain.ids[plain.row[3 + 2]], 62);  // a key behind its query
}

struct Twin {
  Mat out, dq, dk, dv, dpos_key, dpos_query;
};

// One loop per index, in double.
Twin plain_twin(const AttentionOptions& o, const RelativeRows& rows, const Rows& q_rows, const Rows& k_rows,
                const Mat& q, const Mat& k, const Mat& v, const Mat& pos_key, const Mat& pos_query,
                const Mat& dout) {
  Twin t{Mat(q.rows, q.cols),
         Mat(q.rows, q.cols),
         Mat(k.rows, k.cols),
         Mat(v.rows, v.cols),
         Mat(pos_key.rows, pos_key.cols),
         Mat(pos_query.rows, pos_query.cols)};
  Dropout drop;
  drop.p = o.dropout;
  drop.key = philox_key(training().seed, training().step, "scope");
  for (int64_t s = 0; s < q_rows.num_sequences; ++s) {
    const int64_t k0 = k_rows.cu_seqlens[s], n = k_rows.cu_seqlens[s + 1] - k0;
    for (int64_t i = q_rows.cu_seqlens[s]; i < q_rows.cu_seqlens[s + 1]; ++i) {
      for (int64_t h = 0; h < o.num_heads; ++h) {
        const auto at = [&](int64_t j) {
          return int64_t{rows.row[j - q_rows.position[i] + rows.max_position]};
        };
        std::vector<double> p(static_cast<size_t>(n)), f(p.size(), 1), dp(p.size());
        double sum = 0, dot = 0;
        for (int64_t j = 0; j < n; ++j) {
          double score = 0;
          for (int64_t c = h * o.head_dim; c < (h + 1) * o.head_dim; ++c) {
            score += q(i, c) * k(k0 + j, c);
            if (pos_key.rows > 0) score += q(i, c) * pos_key(at(j), c);
            if (pos_query.rows > 0) score += k(k0 + j, c) * pos_query(at(j), c);
          }
          sum += p[static_cast<size_t>(j)] = std::exp(score * double{o.scale});
        }
        for (int64_t j = 0; j < n; ++j) {
          const auto sj = static_cast<size_t>(j);
          p[sj] /= sum;
          if (drop.p > 0)
            f[sj] = twin::dropout_factor(drop, q_rows.example[s], q_rows.position[i],
                                         static_cast<uint32_t>(h) + 1, j);
          for (int64_t c = h * o.head_dim; c < (h + 1) * o.head_dim; ++c) {
            t.out(i, c) += p[sj] * f[sj] * v(k0 + j, c);
            t.dv(k0 + j, c) += p[sj] * f[sj] * dout(i, c);
            dp[sj] += dout(i, c) * v(k0 + j, c) * f[sj];
          }
          dot += p[sj] * dp[sj];
        }
        for (int64_t j = 0; j < n; ++j) {
          const double ds = p[static_cast<size_t>(j)] * (dp[static_cast<size_t>(j)] - dot) * double{o.scale};
          for (int64_t c = h * o.head_dim; c < (h + 1) * o.head_dim; ++c) {
            t.dq(i, c) += ds * k(k0 + j, c);
            t.dk(k0 + j, c) += ds * q(i, c);
            if (pos_key.rows > 0) {
              t.dq(i, c) += ds * pos_key(at(j), c);
              t.dpos_key(at(j), c) += ds * q(i, c);
            }
            if (pos_query.rows > 0) {
              t.dk(k0 + j, c) += ds * pos_query(at(j), c);
              t.dpos_query(at(j), c) += ds * k(k0 + j, c);
            }
          }
        }
      }
    }
  }
  return t;
}

struct Case {
  const char* name;
  bool c2p = true, p2c = true;
  float dropout = 0;
  std::vector<int32_t> chosen = {};  // query rows; empty: all
};

Forward forward_of(const Case& c, int64_t heads, int64_t dim, const Rows& rows, int64_t buckets,
                   int64_t max_distance, int64_t max_position) {
  return [=](Tape& t, const std::vector<Var>& in) {
    DisentangledPositions positions;
    positions.rows = log_relative_rows(t, buckets, max_distance, max_position);
    if (c.c2p) positions.key.v = in[3];
    if (c.p2c) positions.query.v = in[4];
    const Rows q_rows = c.chosen.empty()
                            ? rows
                            : select_rows(t, rows, c.chosen.data(), static_cast<int64_t>(c.chosen.size()));
    return disentangled_attention(t, {in[0]}, {in[1]}, {in[2]}, positions,
                                  options_with(heads, dim, c.dropout), "scope", q_rows, rows);
  };
}

// Long enough for several blocks of queries and keys.
TEST(Disentangled, EqualsTwin) {
  const Batch batch({1, 5, 40, 300, 2, 3, 4, 6, 7}, 17);
  const int64_t T = batch.num_rows();
  ParameterStore store;
  fill_store(store);
  Arena arena;
  Tape tape(cpu_kernels(), arena, store, {});
  const RelativeRows rows = log_relative_rows(tape, 32, 128, 299);
  for (const Case& c :
       {Case{"both"}, Case{"c2p", true, false}, Case{"p2c", false, true}, Case{"dropout", true, true, 0.1f},
        Case{"chosen rows", true, true, 0.1f, {0, 3, 46, 47, 120, 121, 344, 346}}}) {
    const Rows q_rows = c.chosen.empty() ? batch.rows()
                                         : select_rows(tape, batch.rows(), c.chosen.data(),
                                                       static_cast<int64_t>(c.chosen.size()));
    Matrix q = random_matrix(q_rows.num_rows, kWidth3, "q"), k = random_matrix(T, kWidth3, "k"),
           v = random_matrix(T, kWidth3, "v"), dout = random_matrix(q_rows.num_rows, kWidth3, "dout"),
           pos_key = random_matrix(c.c2p ? rows.n : 0, kWidth3, "pk"),
           pos_query = random_matrix(c.p2c ? rows.n : 0, kWidth3, "pq");
    const Pass got = run_pass(store, {q, k, v, pos_key, pos_query},
                              forward_of(c, kHeads, kDim, batch.rows(), 32, 128, 299), training(), &dout);
    const Twin want = plain_twin(options_with(kHeads, kDim, c.dropout), rows, q_rows, batch.rows(), q, k, v,
                                 pos_key, pos_query, dout);
    const auto close = [&](const Matrix& a, const Mat& b, const char* what) {
      twin::expect_close(a, b, 1e-5, fmt::format("{} {}", c.name, what), 4);
    };
    close(got.out, want.out, "out");
    close(got.input_grads[0], want.dq, "dq");
    close(got.input_grads[1], want.dk, "dk");
    close(got.input_grads[2], want.dv, "dv");
    if (c.c2p) close(got.input_grads[3], want.dpos_key, "dpos_key");
    if (c.p2c) close(got.input_grads[4], want.dpos_query, "dpos_query");
  }
}

TEST(Disentangled, FiniteDifferences) {
  const Batch batch({1, 4, 3});
  for (const Case& c :
       {Case{"both"}, Case{"dropout", true, true, 0.3f}, Case{"chosen", true, true, 0, {0, 2, 5, 7}}}) {
    SCOPED_TRACE(c.name);
    ParameterStore store;
    fill_store(store);
    const int64_t queries = c.chosen.empty() ? 8 : 4;
    expect_gradients(store,
                     {random_matrix(queries, 6, "q"), random_matrix(8, 6, "k"), random_matrix(8, 6, "v"),
                      random_matrix(7, 6, "pk"), random_matrix(7, 6, "pq")},
                     forward_of(c, 2, 3, batch.rows(), 6, 16, 3));
  }
}

TEST(Disentangled, KeepsItsBitsOverThreads) {
  const Batch batch({5, 130, 1, 40, 77, 13, 34, 2, 9, 21});
  ParameterStore store;
  fill_store(store);
  const std::vector<Matrix> inputs = {random_matrix(332, kWidth3, "q"), random_matrix(332, kWidth3, "k"),
                                      random_matrix(332, kWidth3, "v"), random_matrix(64, kWidth3, "pk"),
                                      random_matrix(64, kWidth3, "pq")};
  const Case c{"dropout", true, true, 0.1f};
  expect_thread_free(
      [&] { return run_pass(store, inputs, forward_of(c, kHeads, kDim, batch.rows(), 32, 128, 140)); },
      "disentangled");
}

// Alone or among longer neighbours, whose batch reads more positions.
TEST(Disentangled, ASequenceKeepsItsBitsAmongNeighbours) {
  const std::vector<int32_t> lengths = {5, 130, 40};
  const Batch batch(lengths);
  ParameterStore store;
  const Linear key{declare(store, "key", {kWidth3, kWidth3}), nullptr, 1},
      qkv{declare(store, "qkv", {3 * kWidth3, kWidth3}), nullptr, 1};
  Parameter* table = declare(store, "table", {64, kWidth3});
  fill_store(store);
  const auto layer = [&](const Batch& b) -> Forward {
    return [&](Tape& t, const std::vector<Var>& in) {
      const int64_t longest = *std::max_element(b.rows().position, b.rows().position + b.num_rows());
      DisentangledPositions positions;
      positions.rows = log_relative_rows(t, 32, 128, longest);
      Embeddings e;
      e.word = table;
      const Batch one({static_cast<int32_t>(positions.rows.n)});
      const Var x = embed(t, e, positions.rows.ids, nullptr, nullptr, 0, "table", one.rows());
      positions.key.v = linear(t, x, key);
      positions.query.v = linear(t, x, key);
      const Var p = linear(t, in[0], qkv);
      return disentangled_attention(t, {p, 0}, {p, kWidth3}, {p, 2 * kWidth3}, positions,
                                    options_with(kHeads, kDim, 0.1f), "scope", b.rows(), b.rows());
    };
  };
  expect_no_neighbours(store, lengths, kWidth3, layer, training(), "disentangled");
}

// Query and key of a group project positions as well: the group's gradient is added to theirs, and the part
// that was not used alone starts from zero at every step.
TEST(Disentangled, AGroupAndItsPartsShareTheirGradient) {
  ParameterStore store;
  const Linear group{declare(store, "q", {16, 3}), nullptr, 2};
  declare(store, "k", {16, 3});
  fill_store(store);
  const Linear part{group.weight, nullptr, 1};
  const auto forward = [&](Tape& t, const std::vector<Var>& in) {
    const Var whole = linear(t, in[0], group);  // its backward pass comes last
    return concat_columns(t, {whole, linear(t, in[0], part)});
  };
  const Matrix x = random_matrix(5, 3, "x");
  const Pass first = run_pass(store, {x}, forward);
  const Pass again = run_pass(store, {x}, forward);  // over the gradient of the first
  for (const char* name : {"q", "k"})
    expect_same_bits(first.parameter_grads.at(name), again.parameter_grads.at(name), name);
  expect_gradients(store, {x}, forward);
}

TEST(Disentangled, NanIsHandedOnAndMisuseIsTold) {
  const Batch batch({3});
  ParameterStore store;
  fill_store(store);
  std::vector<Matrix> inputs = {random_matrix(3, 4, "q"), random_matrix(3, 4, "k"), random_matrix(3, 4, "v"),
                                random_matrix(5, 4, "pk"), random_matrix(5, 4, "pq")};
  inputs[3].at(4, 3) = NAN;  // head 1, a key two behind its query
  const Matrix y = run_forward(store, inputs, forward_of({"nan"}, 2, 2, batch.rows(), 6, 16, 2));
  EXPECT_TRUE(std::isnan(y.at(0, 2)));
  EXPECT_TRUE(std::isfinite(y.at(0, 1)));
  const auto told = [&](const Forward& f) {
    return graft::test::error_of([&] { run_forward(store, inputs, f); });
  };
  EXPECT_THAT(told(forward_of({"rows"}, 2, 2, batch.rows(), 6, 16, 7)),
              testing::HasSubstr("positions [5, 4] for"));
  EXPECT_THAT(told(forward_of({"short"}, 2, 2, batch.rows(), 0, 1, 2)),
              testing::HasSubstr("buckets for distances"));
}

}  // namespace
}  // namespace graft::engine::test
