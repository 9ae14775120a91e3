#include "tasks/drawn_tokens.h"

#include <cmath>

#include "models/model_case.h"

namespace graft::tasks {
namespace {

// A batch whose every token is masked, of sequences of these examples and lengths.
data::RaggedBatch masked_batch(const std::vector<std::pair<int64_t, int32_t>>& sequences) {
  data::RaggedBatch batch;
  for (const auto& [example, length] : sequences) {
    const std::vector<int32_t> ids(static_cast<size_t>(length), 0);
    for (int32_t i = 0; i < length; ++i) batch.label_rows.push_back(batch.rows() + i);
    batch.labels.resize(batch.label_rows.size(), 0);
    batch.begin_example(example);
    batch.append_sequence(ids.data(), nullptr, length, 7);
  }
  return batch;
}

// The same logits for each row.
struct SameRows {
  std::vector<float> values;
  int64_t rows, cols;
  SameRows(int64_t n, const std::vector<float>& row) : rows(n), cols(std::ssize(row)) {
    for (int64_t r = 0; r < n; ++r) values.insert(values.end(), row.begin(), row.end());
  }
  engine::Tensor tensor() { return engine::make_tensor(values.data(), rows, cols); }
};

std::vector<int32_t> draw(const data::RaggedBatch& batch, const std::vector<float>& row, uint64_t seed = 1,
                          uint64_t step = 0) {
  SameRows logits(batch.rows(), row);
  std::vector<int32_t> ids(static_cast<size_t>(batch.rows()), -1);
  draw_tokens(logits.tensor(), batch, seed, step, ids.data());
  return ids;
}

// Columns in several chunks, with probabilities of 1/2, 1/4, 1/8 and 1/8.
std::vector<float> four_columns() {
  std::vector<float> row(1500, -200.0f);
  row[3] = std::log(4.0f) + 50;
  row[511] = std::log(2.0f) + 50;
  row[512] = row[1499] = 50;
  return row;
}

TEST(DrawnTokens, HaveTheProbabilitiesOfTheSoftmax) {
  constexpr int64_t kDraws = 40000;
  std::map<int32_t, double> counts;
  for (uint64_t step = 0; step < 40; ++step)
    for (const int32_t id : draw(masked_batch({{5, kDraws / 40}}), four_columns(), 1, step))
      counts[id] += 1.0 / kDraws;
  ASSERT_EQ(counts.size(), 4u);
  for (const auto& [column, p] : {std::pair{3, 0.5}, {511, 0.25}, {512, 0.125}, {1499, 0.125}})
    EXPECT_NEAR(counts[column], p, 4 * std::sqrt(p * (1 - p) / kDraws)) << column;
}

TEST(DrawnTokens, AreAFunctionOfSeedStepExampleAndPosition) {
  const std::vector<float> row = four_columns();
  const std::vector<int32_t> both = draw(masked_batch({{5, 40}, {9, 60}}), row),
                             first = draw(masked_batch({{5, 40}}), row),
                             second = draw(masked_batch({{9, 60}}), row);
  EXPECT_EQ(std::vector<int32_t>(both.begin(), both.begin() + 40), first);
  EXPECT_EQ(std::vector<int32_t>(both.begin() + 40, both.end()), second);
  EXPECT_NE(draw(masked_batch({{6, 40}}), row), first);
  EXPECT_NE(draw(masked_batch({{5 + (int64_t{1} << 32), 40}}), row), first);
  EXPECT_NE(draw(masked_batch({{5, 40}}), row, 2), first);
  EXPECT_NE(draw(masked_batch({{5, 40}}), row, 1, 1), first);
  EXPECT_NE(draw(masked_batch({{5, 40}}), row, 1, kNoStep), first);
  // Positions of one sequence have draws of their own.
  EXPECT_NE(std::count(first.begin(), first.end(), first[0]), 40);
  test::expect_thread_free("drawn tokens", [&] {
    const std::vector<int32_t> ids = draw(masked_batch({{5, 400}, {9, 60}}), row);
    return std::vector<float>(ids.begin(), ids.end());
  });
}

TEST(DrawnTokens, OnlyRowsWithALabelAreFilled) {
  data::RaggedBatch batch = masked_batch({{1, 5}});
  batch.label_rows = {1, 4};
  batch.labels = {0, 0};
  SameRows logits(2, {0, 0, 80});
  std::vector<int32_t> ids(5, 9);
  draw_tokens(logits.tensor(), batch, 1, 1, ids.data());
  EXPECT_EQ(ids, (std::vector<int32_t>{9, 2, 9, 9, 2}));
  SameRows wrong(3, {0, 0, 80});
  EXPECT_THAT(test::error_of([&] { draw_tokens(wrong.tensor(), batch, 1, 1, ids.data()); }),
              testing::HasSubstr("3 rows of logits for 2 tokens"));
}

// The loss of such a row is not finite either, which ends the run with a message.
TEST(DrawnTokens, OfLogitsThatAreNotFiniteStayInTheVocabulary) {
  const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  for (const std::vector<float>& row : {std::vector<float>{nan, nan, nan}, {inf, 0, inf}, {0, nan, 1}})
    for (const int32_t id : draw(masked_batch({{1, 20}}), row)) {
      EXPECT_GE(id, 0);
      EXPECT_LT(id, 3);
    }
}

}  // namespace
}  // namespace graft::tasks
