// Attention of decoders and of T5: position biases with their gradient, keys of another text, cached keys.
#include <cmath>
#include <numeric>

#include "engine/plain_twins.h"
#include "support/shared.h"

namespace graft::engine::test {
namespace {

Parameter* bias_table(ParameterStore& store, int64_t buckets, int64_t heads) {
  return declare(store, "relative_attention_bias.weight", {buckets, heads});
}

AttentionOptions options_of(int64_t heads, int64_t dim) {
  AttentionOptions o;
  o.num_heads = heads;
  o.head_dim = dim;
  o.scale = 0.6f;
  return o;
}

// T5Attention._relative_position_bucket of transformers 5.24 (torch 2.13) for distances from -140 to 140.
TEST(RelativeBias, BucketsAreThoseOfTheReference) {
  ParameterStore store;
  Parameter* table = bias_table(store, 32, 2);
  Arena arena;
  Tape tape(cpu_kernels(), arena, store, {});
  const AttentionBias both = relative_bias(tape, table, true, 128, 140),
                      causal = relative_bias(tape, table, false, 128, 140);
  // The distances at which the bucket changes, as key - query grows.
  using Changes = std::vector<std::pair<int64_t, int32_t>>;
  const auto changes = [](const AttentionBias& bias) {
    Changes out;
    for (int64_t d = -140; d <= 140; ++d)
      if (out.empty() || bias.bucket[d + 140] != out.back().second) out.emplace_back(d, bias.bucket[d + 140]);
    return out;
  };
  EXPECT_EQ(changes(both),
            (Changes{{-140, 15}, {-90, 14}, {-63, 13}, {-45, 12}, {-31, 11}, {-22, 10}, {-15, 9}, {-11, 8},
                     {-7, 7},    {-6, 6},   {-5, 5},   {-4, 4},   {-3, 3},   {-2, 2},   {-1, 1},  {0, 0},
                     {1, 17},    {2, 18},   {3, 19},   {4, 20},   {5, 21},   {6, 22},   {7, 23},  {8, 24},
                     {12, 25},   {16, 26},  {23, 27},  {32, 28},  {46, 29},  {64, 30},  {91, 31}}));
  EXPECT_EQ(changes(causal),
            (Changes{{-140, 31}, {-112, 30}, {-98, 29}, {-86, 28}, {-76, 27}, {-66, 26}, {-58, 25}, {-51, 24},
                     {-45, 23},  {-39, 22},  {-34, 21}, {-30, 20}, {-26, 19}, {-23, 18}, {-20, 17}, {-18, 16},
                     {-15, 15},  {-14, 14},  {-13, 13}, {-12, 12}, {-11, 11}, {-10, 10}, {-9, 9},   {-8, 8},
                     {-7, 7},    {-6, 6},    {-5, 5},   {-4, 4},   {-3, 3},   {-2, 2},   {-1, 1},   {0, 0}}));
}

struct Case {
  const char* name;
  bool bidirectional = true;
  bool causal = false;
  int32_t window = -1;
  float dropout = 0;
  bool cross = false;
};
constexpr Case kCases[] = {{"bidirectional"},
                           {"causal", false, true},
                           {"window", true, false, 7},
                           {"dropout", true, false, -1, 0.1f},
                           {"cross", true, false, -1, 0.1f, true}};

// Long enough for several blocks of queries and keys.
TEST(AttentionBias, EqualsTwin) {
  const Batch keys({1, 5, 40, 300}, 17), others({3, 70, 1, 129}, 17);
  for (const Case& c : kCases) {
    const int64_t heads = 3, dim = 10, W = heads * dim;
    const Batch& queries = c.cross ? others : keys;
    const int64_t Tq = queries.num_rows(), T = keys.num_rows();
    ParameterStore store;
    Parameter* table = bias_table(store, 16, heads);
    fill_store(store, 1.5f);
    Arena arena;
    Tape tape(cpu_kernels(), arena, store, {});
    const AttentionBias bias = relative_bias(tape, table, c.bidirectional, 64, 300);
    Matrix q = random_matrix(Tq, W, "q"), k = random_matrix(T, W, "k"), v = random_matrix(T, W, "v"),
           dout = random_matrix(Tq, W, "dout");
    AttentionOptions o = options_of(heads, dim);
    o.causal = c.causal;
    o.window = c.window;
    o.dropout = c.dropout;
    const Pass got = run_pass(
        store, {q, k, v},
        [&](Tape& t, const std::vector<Var>& in) {
          o.bias = relative_bias(t, table, c.bidirectional, 64, 300);
          return attention(t, {in[0]}, {in[1]}, {in[2]}, o, "scope", queries.rows(), keys.rows());
        },
        training(), &dout);
    AttentionArgs a;
    a.num_heads = heads;
    a.head_dim = dim;
    a.scale = o.scale;
    a.causal = c.causal;
    a.window = c.window;
    a.dropout.p = c.dropout;
    a.dropout.key = philox_key(training().seed, training().step, "scope");
    a.bias = store.value(*table);
    a.bucket = bias.bucket;
    a.bucket_zero = bias.max_position;
    a.num_buckets = 16;
    a.q_rows = queries.rows();
    a.k_rows = keys.rows();
    const auto want = twin::attention(a, q, k, v);
    const auto grads = twin::attention_backward(a, q, k, v, dout);
    twin::expect_close(got.out, want.out, 3e-6, c.name, 2);
    twin::expect_close(got.input_grads[0], grads.dq, 1e-5, fmt::format("{} dq", c.name), 2);
    twin::expect_close(got.input_grads[1], grads.dk, 1e-5, fmt::format("{} dk", c.name), 2);
    twin::expect_close(got.input_grads[2], grads.dv, 1e-5, fmt::format("{} dv", c.name), 2);
    twin::expect_close(got.parameter_grads.at(table->name), grads.dbias, 1e-5,
                       fmt::format("{} dbias", c.name), 4);
  }
}

TEST(AttentionBias, FiniteDifferences) {
  const Batch batch({1, 4, 3}), others({2, 1, 5});
  for (const Case& c : {Case{"both"}, Case{"causal", false, true}, Case{"dropout", true, false, -1, 0.3f},
                        Case{"cross", true, false, -1, 0, true}}) {
    SCOPED_TRACE(c.name);
    ParameterStore store;
    Parameter* table = bias_table(store, 8, 2);
    fill_store(store);
    AttentionOptions o = options_of(2, 3);
    o.causal = c.causal;
    o.dropout = c.dropout;
    expect_gradients(store, {random_matrix(8, 6, "q"), random_matrix(8, 12, "kv")},
                     [&](Tape& t, const std::vector<Var>& in) {
                       o.bias = relative_bias(t, table, c.bidirectional, 16, 8);
                       return attention(t, {in[0]}, {in[1], 0}, {in[1], 6}, o, "a",
                                        (c.cross ? others : batch).rows(), batch.rows());
                     });
  }
}

// One table for two layers, as T5 has it; and a frozen table.
TEST(AttentionBias, LayersShareATableAndAFrozenOneGetsNoGradient) {
  const Batch batch({1, 4});
  for (const bool trained : {true, false}) {
    ParameterStore store;
    Parameter* table = bias_table(store, 8, 2);
    fill_store(store);
    table->trainable = trained;
    const auto forward = [&](Tape& t, const std::vector<Var>& in) {
      AttentionOptions o = options_of(2, 3);
      o.bias = relative_bias(t, table, true, 16, 8);
      Var x = attention(t, {in[0], 0}, {in[0], 6}, {in[0], 12}, o, "a", batch.rows(), batch.rows());
      return attention(t, {x}, {in[1], 0}, {in[1], 6}, o, "b", batch.rows(), batch.rows());
    };
    const std::vector<Matrix> inputs = {random_matrix(5, 18, "qkv"), random_matrix(5, 12, "kv")};
    EXPECT_EQ(run_pass(store, inputs, forward).parameter_grads.count(table->name), trained ? 1u : 0u);
    expect_gradients(store, inputs, forward);
  }
}

TEST(AttentionBias, ATableThatDoesNotFitIsTold) {
  const Batch batch({9});
  ParameterStore store;
  Parameter* table = bias_table(store, 8, 2);
  fill_store(store);
  const auto told = [&](int64_t heads, int64_t max_position) {
    return graft::test::error_of([&] {
      run_forward(store, {Matrix(9, 3 * heads)}, [&](Tape& t, const std::vector<Var>& in) {
        AttentionOptions o = options_of(heads, 1);
        o.bias = relative_bias(t, table, true, 16, max_position);
        return attention(t, {in[0], 0}, {in[0], heads}, {in[0], 2 * heads}, o, "a", batch.rows(),
                         batch.rows());
      });
    });
  };
  EXPECT_THAT(told(3, 8), testing::HasSubstr("must be a dense [buckets, 3]"));
  EXPECT_THAT(told(2, 7), testing::HasSubstr("position 8 is beyond the 7 of its bias"));
  EXPECT_THAT(graft::test::error_of([&] {
                Arena arena;
                Tape t(cpu_kernels(), arena, store, {});
                relative_bias(t, table, true, 2, 7);
              }),
              testing::HasSubstr("8 buckets for distances up to 2"));
}

TEST(AttentionBias, NanInTheTableIsHandedOn) {
  const Batch batch({3});
  ParameterStore store;
  Parameter* table = bias_table(store, 8, 2);
  fill_store(store);
  store.value(*table)[1] = NAN;  // bucket 0 of head 1
  const Matrix y =
      run_forward(store, {random_matrix(3, 12, "qkv")}, [&](Tape& t, const std::vector<Var>& in) {
        AttentionOptions o = options_of(2, 2);
        o.bias = relative_bias(t, table, true, 16, 3);
        return attention(t, {in[0], 0}, {in[0], 4}, {in[0], 8}, o, "a", batch.rows(), batch.rows());
      });
  EXPECT_TRUE(std::isfinite(y.at(1, 1)));
  EXPECT_TRUE(std::isnan(y.at(1, 2)));
}

// Keys of another text without a bias: lengths differ, also to zero.
TEST(CrossAttention, EqualsTwinAndFiniteDifferences) {
  const Batch queries({3, 70, 1, 4}), keys({5, 1, 300, 0});
  ParameterStore store;
  fill_store(store);
  const AttentionOptions o = options_of(2, 4);
  const auto forward = [&](const Batch& q, const Batch& k) {
    return [&](Tape& t, const std::vector<Var>& in) {
      return attention(t, {in[0]}, {in[1], 0}, {in[1], 8}, o, "a", q.rows(), k.rows());
    };
  };
  Matrix q = random_matrix(78, 8, "q"), kv = random_matrix(306, 16, "kv");
  const Pass got = run_pass(store, {q, kv}, forward(queries, keys));
  AttentionArgs a;
  a.num_heads = 2;
  a.head_dim = 4;
  a.scale = o.scale;
  a.q_rows = queries.rows();
  a.k_rows = keys.rows();
  const twin::Mat k = copy_of(kv.tensor().columns(0, 8)), v = copy_of(kv.tensor().columns(8, 8));
  twin::expect_close(got.out, twin::attention(a, q, k, v).out, 3e-6, "cross");
  for (int64_t c = 0; c < 8; ++c) EXPECT_EQ(got.out.at(76, c), 0) << "a text without keys";
  const Batch two({2, 1}), three({1, 3});
  expect_gradients(store, {random_matrix(3, 8, "q"), random_matrix(4, 16, "kv")}, forward(two, three));
}

// A cache with gaps: each sequence has room for more keys than it has.
struct Cache {
  Matrix k, v;
  std::vector<int64_t> begin;
  std::vector<int32_t> length;
  Cache(const std::vector<int32_t>& lengths, int64_t room, int64_t width)
      : k(static_cast<int64_t>(lengths.size()) * room, width, NAN),
        v(static_cast<int64_t>(lengths.size()) * room, width, NAN),
        length(lengths) {
    for (size_t s = 0; s < lengths.size(); ++s) begin.push_back(static_cast<int64_t>(s) * room);
  }
  CachedKeys keys() { return {k.tensor(), v.tensor(), begin.data(), length.data()}; }
  // The cache row of each row of a batch.
  std::vector<int64_t> rows_of(const Rows& rows) const {
    std::vector<int64_t> out;
    for (int64_t r = 0; r < rows.num_rows; ++r)
      out.push_back(begin[static_cast<size_t>(rows.sequence[r])] + rows.position[r]);
    return out;
  }
};

// The last queries of each sequence against all its keys in a cache: one to four, and more than that.
TEST(AttentionCached, EqualsAttentionOverTheWholeText) {
  const std::vector<int32_t> lengths = {1, 7, 150, 33};
  const Batch batch(lengths);
  const int64_t heads = 2, dim = 12, W = heads * dim, T = batch.num_rows();
  for (const bool with_bias : {false, true}) {
    for (const int32_t window : {-1, 5}) {
      for (const int32_t last : {1, 3, 4, 6}) {
        ParameterStore store;
        Parameter* table = bias_table(store, 8, heads);
        fill_store(store);
        AttentionOptions o = options_of(heads, dim);
        o.causal = true;
        o.window = window;
        const Matrix qkv = random_matrix(T, 3 * W, "qkv");
        std::vector<int32_t> chosen;
        for (size_t s = 0; s < lengths.size(); ++s)
          for (int32_t i = std::max(0, lengths[s] - last); i < lengths[s]; ++i)
            chosen.push_back(static_cast<int32_t>(batch.begin(s)) + i);
        const auto n = static_cast<int64_t>(chosen.size());
        const auto whole = run_forward(store, {qkv}, [&](Tape& t, const std::vector<Var>& in) {
          AttentionOptions with = o;
          if (with_bias) with.bias = relative_bias(t, table, false, 16, 150);
          return gather(
              t, attention(t, {in[0], 0}, {in[0], W}, {in[0], 2 * W}, with, "a", batch.rows(), batch.rows()),
              chosen.data(), n);
        });
        Cache cache(lengths, 151, W);
        const auto cached = run_forward(store, {qkv}, [&](Tape& t, const std::vector<Var>& in) {
          const std::vector<int64_t> rows = cache.rows_of(batch.rows());
          put_rows(t, {in[0], W}, rows.data(), cache.k.tensor());
          put_rows(t, {in[0], 2 * W}, rows.data(), cache.v.tensor());
          AttentionOptions with = o;
          if (with_bias) with.bias = relative_bias(t, table, false, 16, 150);
          return attention_cached(t, {gather(t, in[0], chosen.data(), n), 0}, cache.keys(), with,
                                  select_rows(t, batch.rows(), chosen.data(), n));
        });
        twin::expect_close(cached, twin::Mat(whole), 3e-6,
                           fmt::format("last {} window {} bias {}", last, window, with_bias), 4);
      }
    }
  }
}

TEST(AttentionCached, ASequenceKeepsItsBitsAmongNeighboursAndThreads) {
  const std::vector<int32_t> lengths = {9, 150, 33};
  ParameterStore store;
  fill_store(store);
  const AttentionOptions o = options_of(2, 12);
  Cache cache(lengths, 160, 24);
  cache.k = random_matrix(480, 24, "k");
  cache.v = random_matrix(480, 24, "v");
  const Matrix q = random_matrix(3, 24, "q");
  const Batch one({1}), three({1, 1, 1});
  const auto run = [&](int64_t first, int64_t n) {
    return run_forward(store, {rows_of(q, first, n)}, [&](Tape& t, const std::vector<Var>& in) {
      const CachedKeys keys{cache.k.tensor(), cache.v.tensor(), cache.begin.data() + first,
                            cache.length.data() + first};
      return attention_cached(t, {in[0]}, keys, o, (n == 1 ? one : three).rows());
    });
  };
  expect_thread_free([&] { return Pass{run(0, 3), 0, {}, {}}; }, "cached attention");
  const Matrix all = run(0, 3);
  for (int64_t s = 0; s < 3; ++s) expect_same_bits(rows_of(all, s, 1), run(s, 1), "alone");
}

TEST(AttentionCached, BadNumbersAreHandedOnAndMisuseIsTold) {
  ParameterStore store;
  fill_store(store);
  const AttentionOptions o = options_of(1, 4);
  const Batch batch({1});
  Cache cache({3}, 5, 4);  // NaN behind the three keys
  for (Matrix* m : {&cache.k, &cache.v}) std::fill_n(m->v.begin(), 12, 0.5f);
  const auto run = [&] {
    return run_forward(store, {random_matrix(1, 4, "q")}, [&](Tape& t, const std::vector<Var>& in) {
      return attention_cached(t, {in[0]}, cache.keys(), o, batch.rows());
    });
  };
  EXPECT_TRUE(std::isfinite(run().at(0, 0))) << "reads a key that is not there";
  cache.k.at(1, 2) = NAN;
  EXPECT_FALSE(std::isfinite(run().at(0, 0)));
  cache.k.at(1, 2) = 0.5f;
  cache.v.at(1, 2) = NAN;
  EXPECT_FALSE(std::isfinite(run().at(0, 2)));
  cache.length[0] = 6;
  EXPECT_THAT(graft::test::error_of(run), testing::HasSubstr("sequence 0 has keys 0 to 6 of 5"));
  cache.length[0] = 3;
  EXPECT_THAT(graft::test::error_of([&] {
                run_pass(store, {Matrix(1, 4)}, [&](Tape& t, const std::vector<Var>& in) {
                  return attention_cached(t, {in[0]}, cache.keys(), o, batch.rows());
                });
              }),
              testing::HasSubstr("cached keys have no gradient"));
  const std::vector<int64_t> outside = {5};
  EXPECT_THAT(graft::test::error_of([&] {
                run_forward(store, {Matrix(1, 4)}, [&](Tape& t, const std::vector<Var>& in) {
                  put_rows(t, {in[0]}, outside.data(), cache.k.tensor());
                  return in[0];
                });
              }),
              testing::HasSubstr("row 5 of 5"));
}

}  // namespace
}  // namespace graft::engine::test
