// Rows of a table in place of columns of a matrix (engine/attention_ops.h): keys and values that are
// parameters.
#include <cmath>
#include <limits>

#include "engine/basic_ops.h"
#include "engine/engine_case.h"
#include "support/shared.h"

namespace graft::engine::test {
namespace {

using graft::test::error_of;
using testing::HasSubstr;

constexpr int64_t kWidth = 6, kFirst = 3;
// Rows of a table [4, 2 * kWidth], read as eight rows of kWidth.
const std::vector<int32_t> kRows = {2, 4, 6, -1, -1, 2, 4, 6, -1, -1, -1, 7};

struct Case {
  ParameterStore store;
  Parameter* table;
  Matrix x = random_matrix(std::ssize(kRows), 11, "x");
  Case() : table(declare(store, "table", {4, 2 * kWidth})) { fill_store(store); }
  // A copy: x itself stays as it is.
  Var run(Tape& t, const std::vector<Var>& in, const std::vector<int32_t>& rows = kRows) const {
    return replace_columns(t, {scale(t, in[0], 1), kFirst}, kWidth, *table, rows.data());
  }
  Forward forward() const {
    return [this](Tape& t, const std::vector<Var>& in) { return run(t, in); };
  }
};

// The plain twin.
Matrix replaced(const Matrix& x, const float* table) {
  Matrix y = x;
  for (int64_t r = 0; r < y.rows; ++r)
    for (int64_t c = 0; c < kWidth; ++c)
      if (const int32_t row = kRows[static_cast<size_t>(r)]; row >= 0)
        y.at(r, kFirst + c) = table[row * kWidth + c];
  return y;
}

TEST(ReplaceColumns, HasTheRowsOfTheTable) {
  Case c;
  const HostRead table = c.store.read_value(*c.table);
  expect_same_bits(run_forward(c.store, {c.x}, c.forward()), replaced(c.x, table.data()), "replaced");
}

TEST(ReplaceColumns, GivesTheGradientToTheTableAndTheRestToX) {
  Case c;
  expect_gradients(c.store, {c.x}, c.forward());
  // Beside another reader of the table.
  const std::vector<int32_t> others = {-1, 2, 2, 2, 0, 1, 3, 5, 7, -1, -1, -1};
  expect_gradients(c.store, {c.x}, [&](Tape& t, const std::vector<Var>& in) {
    return add(t, c.run(t, in), c.run(t, in, others));
  });
  c.table->trainable = false;
  const Pass frozen = run_pass(c.store, {c.x}, c.forward());
  EXPECT_EQ(frozen.parameter_grads.count("table"), 0u);
  for (int64_t r = 0; r < c.x.rows; ++r)
    for (int64_t k = 0; k < kWidth; ++k)
      EXPECT_EQ(frozen.input_grads[0].at(r, kFirst + k) == 0, kRows[static_cast<size_t>(r)] >= 0) << r;
}

TEST(ReplaceColumns, HasTheSameBitsForAnyNumberOfThreads) {
  Case c;
  expect_thread_free([&] { return run_pass(c.store, {c.x}, c.forward()); }, "replaced columns");
}

TEST(ReplaceColumns, HandsBadNumbersOn) {
  Case c;
  c.store.write_value(*c.table).data()[2 * kWidth + 1] = std::numeric_limits<float>::quiet_NaN();
  const Matrix y = run_forward(c.store, {c.x}, c.forward());
  EXPECT_TRUE(std::isnan(y.at(0, kFirst + 1)));
  EXPECT_TRUE(std::isnan(y.at(5, kFirst + 1)));
  EXPECT_TRUE(std::isfinite(y.at(1, kFirst + 1)));
}

TEST(ReplaceColumns, TellsWhatDoesNotFit) {
  Case c;
  const auto refusal = [&](int64_t first, int64_t width, const std::vector<int32_t>& rows) {
    return error_of([&] {
      run_forward(c.store, {c.x}, [&](Tape& t, const std::vector<Var>& in) {
        return replace_columns(t, {scale(t, in[0], 1), first}, width, *c.table, rows.data());
      });
    });
  };
  EXPECT_THAT(refusal(6, 6, kRows), HasSubstr("columns 6 to 12 of 11"));
  EXPECT_THAT(refusal(0, 5, kRows), HasSubstr("by rows of table [4, 12]"));
  std::vector<int32_t> outside = kRows;
  outside[3] = 8;
  EXPECT_THAT(refusal(kFirst, kWidth, outside), HasSubstr("row 8 of table, which has 8"));
}

}  // namespace
}  // namespace graft::engine::test
