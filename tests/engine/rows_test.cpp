// Sequences without rows, and rows that are not those of the batch: a defined result, or an error; never a
// neighbour's.
#include <cmath>

#include "engine/basic_ops.h"
#include "engine/engine_case.h"
#include "support/shared.h"

namespace graft::engine::test {
namespace {

using graft::test::error_of;
using testing::HasSubstr;

constexpr int64_t kHidden = 24;

// Empty sequences before, between and behind others.
const std::vector<int32_t> kWithEmpty = {0, 3, 0, 0, 5, 0}, kWithout = {3, 5};

struct Model {
  ParameterStore store;
  Embeddings embeddings;
  Linear qkv;
  Norm norm;
  Model() {
    const auto make_norm = [&](const std::string& name) {
      return Norm{declare(store, name + ".weight", {kHidden}), declare(store, name + ".bias", {kHidden}),
                  1e-6f};
    };
    embeddings = {declare(store, "word", {9, kHidden}), declare(store, "position", {9, kHidden}), nullptr,
                  make_norm("embeddings")};
    qkv = {declare(store, "qkv.weight", {3 * kHidden, kHidden}), declare(store, "qkv.bias", {3 * kHidden}),
           1};
    norm = make_norm("norm");
    fill_store(store);
  }

  Var layer(Tape& t, const Rows& rows, const int32_t* ids) const {
    AttentionOptions o;
    o.num_heads = 2;
    o.head_dim = kHidden / 2;
    o.dropout = 0.2f;
    Var x = embed(t, embeddings, ids, rows.position, nullptr, 0.1f, "embeddings", rows);
    Var p = linear(t, x, qkv);
    Var context = attention(t, {p, 0}, {p, kHidden}, {p, 2 * kHidden}, o, "attention", rows, rows);
    return residual_norm(t, context, x, norm, 0.1f, "norm", rows);
  }
};

// A batch whose sequences are numbered as in kWithEmpty, so that dropout is the same with and without the
// empty ones.
Pass run(Model& m, const std::vector<int32_t>& lengths, const std::vector<int64_t>& examples) {
  const Batch batch(lengths);
  Rows rows = batch.rows();
  rows.example = examples.data();
  const auto ids = random_ids(rows.num_rows, 9, "ids");
  return run_pass(m.store, {},
                  [&](Tape& t, const std::vector<Var>&) { return m.layer(t, rows, ids.data()); });
}

TEST(EmptySequences, ChangeNothingForTheirNeighbours) {
  Model m;
  const Pass with = run(m, kWithEmpty, {7, 1, 8, 9, 4, 2}), without = run(m, kWithout, {1, 4});
  expect_same_bits(with, without, "with sequences that have no rows");
  for (const float x : with.out.v) ASSERT_TRUE(std::isfinite(x));
}

TEST(EmptySequences, ABatchWithoutAnyRowIsAnEmptyResult) {
  Model m;
  for (const auto& lengths : {std::vector<int32_t>{}, {0}, {0, 0, 0}}) {
    const Pass pass = run(m, lengths, {1, 2, 3});
    EXPECT_EQ(pass.out.rows, 0);
    for (const auto& [name, grad] : pass.parameter_grads) {
      for (const float x : grad.v) ASSERT_EQ(x, 0) << name;
    }
  }
}

TEST(EmptySequences, QueriesWithoutKeysGetZeros) {
  const Batch queries({2, 1}), keys({0, 3});
  ParameterStore store;
  fill_store(store);
  AttentionOptions o;
  o.head_dim = 4;
  const Pass pass =
      run_pass(store, {random_matrix(3, 4, "q"), random_matrix(3, 4, "k"), random_matrix(3, 4, "v")},
               [&](Tape& t, const std::vector<Var>& in) {
                 return attention(t, {in[0]}, {in[1]}, {in[2]}, o, "a", queries.rows(), keys.rows());
               });
  for (int64_t c = 0; c < 4; ++c) {
    EXPECT_EQ(pass.out.at(0, c), 0);
    EXPECT_EQ(pass.out.at(1, c), 0);
    EXPECT_NE(pass.out.at(2, c), 0);
    EXPECT_EQ(pass.input_grads[0].at(0, c), 0);
    EXPECT_TRUE(std::isfinite(pass.input_grads[1].at(0, c)));
  }
}

TEST(EmptySequences, HaveAMeanOfZeroAndGiveNoGradient) {
  const Batch batch({0, 2, 0});
  ParameterStore store;
  fill_store(store);
  const Pass pass = run_pass(store, {random_matrix(2, 3, "x")}, [&](Tape& t, const std::vector<Var>& in) {
    return mean_pool(t, in[0], batch.rows());
  });
  ASSERT_EQ(pass.out.rows, 3);
  for (int64_t c = 0; c < 3; ++c) {
    EXPECT_EQ(pass.out.at(0, c), 0);
    EXPECT_NE(pass.out.at(1, c), 0);
    EXPECT_EQ(pass.out.at(2, c), 0);
  }
}

class RowsAreChecked : public testing::Test {
 protected:
  Arena arena_;
  ParameterStore store_;
  Tape tape_{cpu_kernels(), arena_, store_, training()};
  Var input(int64_t rows, int64_t cols) { return tape_.result(tape_.push(rows, cols), true); }
};

// The first rows of the sequences of a batch in which one is empty: the neighbour's row, or the end.
TEST_F(RowsAreChecked, SelectRowsRefusesWhatIsNotARowOfEachOnce) {
  const Batch batch({2, 0, 3});
  const std::vector<int32_t> neighbour = {0, 2, 2}, end = {0, 5}, before = {-1};
  EXPECT_THAT(error_of([&] { select_rows(tape_, batch.rows(), neighbour.data(), 3); }),
              HasSubstr("sequence 1"));
  EXPECT_THAT(error_of([&] { select_rows(tape_, batch.rows(), end.data(), 2); }),
              HasSubstr("row 5 of a batch of 5"));
  EXPECT_THAT(error_of([&] { select_rows(tape_, batch.rows(), before.data(), 1); }), HasSubstr("row -1"));
  const std::vector<int32_t> good = {0, 2, 4};
  EXPECT_EQ(select_rows(tape_, batch.rows(), good.data(), 3).cu_seqlens[3], 3);
}

TEST_F(RowsAreChecked, GatherRefusesRowsOutside) {
  const std::vector<int32_t> outside = {0, 4};
  EXPECT_THAT(error_of([&] { gather(tape_, input(4, 2), outside.data(), 2); }),
              HasSubstr("gather: row 4 of 4"));
}

TEST_F(RowsAreChecked, AttentionRefusesRowsOfAnotherBatch) {
  const Batch batch({2, 3}), other({2, 4}), fewer({5});
  AttentionOptions o;
  o.head_dim = 4;
  const auto attend = [&](const Rows& q_rows, const Rows& k_rows, int64_t q, int64_t k) {
    return error_of(
        [&] { attention(tape_, {input(q, 4)}, {input(k, 4)}, {input(k, 4)}, o, "a", q_rows, k_rows); });
  };
  EXPECT_THAT(attend(other.rows(), batch.rows(), 5, 5),
              HasSubstr("attention: sequence 1 has rows 2 to 6 of 5"));
  EXPECT_THAT(attend(batch.rows(), batch.rows(), 5, 7),
              HasSubstr("2 sequences with 5 rows for an input of 7"));
  EXPECT_THAT(attend(fewer.rows(), batch.rows(), 5, 5), HasSubstr("queries of 1 sequences"));
  const std::vector<int32_t> torn = {0, 4, 2, 5};
  Rows rows = batch.rows();
  rows.num_sequences = 3;
  rows.cu_seqlens = torn.data();
  EXPECT_THAT(attend(rows, rows, 5, 5), HasSubstr("sequence 1 has rows 4 to 2"));
}

TEST_F(RowsAreChecked, DropoutRefusesRowsOfAnotherBatch) {
  const Batch batch({2, 3});
  EXPECT_THAT(error_of([&] { dropout(tape_, input(4, 2), 0.5f, "d", batch.rows()); }),
              HasSubstr("dropout: 5 rows are described, the input has 4"));
}

}  // namespace
}  // namespace graft::engine::test
