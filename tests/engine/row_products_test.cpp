// row_products against double, and what a decoder needs of it: the bits of a row depend neither on its
// neighbours nor on threads, and NaN stays NaN.
#include "engine/cpu/row_products.h"

#include <cmath>

#include "base/dtype.h"
#include "base/threads.h"
#include "engine/cpu/isa.h"
#include "engine/plain_twins.h"
#include "support/shared.h"

namespace graft::engine::test {
namespace {

using cpu::Layout;
using cpu::PackedMatrix;

constexpr int64_t kMost = 9;  // rows: more than two groups of four

// x and w, in bf16 rounded, w packed as the engine packs it.
struct Factors {
  Matrix x, w;
  DType dtype;
  std::vector<uint16_t> x_bf16;
  PackedMatrix packed;

  Factors(int64_t K, int64_t N, DType as)
      : Factors(random_matrix(kMost, K, "x"), random_matrix(N, K, "w"), as) {}
  Factors(Matrix left, Matrix right, DType as) : x(std::move(left)), w(std::move(right)), dtype(as) {
    if (dtype != DType::bf16) return;
    packed.pack(w.tensor(), Layout::nt, DType::bf16);
    for (Matrix* m : {&x, &w})
      for (float& value : m->v) value = bf16_to_float(float_to_bf16(value));
    for (const float value : x.v) x_bf16.push_back(float_to_bf16(value));
  }
  Matrix run(int64_t first, int64_t rows) {
    Matrix y(rows, w.rows, NAN);
    Tensor xs = dtype == DType::bf16 ? make_tensor(x_bf16.data() + first * x.cols, rows, x.cols, DType::bf16)
                                     : make_tensor(x.v.data() + first * x.cols, rows, x.cols);
    EXPECT_EQ(cpu::row_products(xs, w.tensor(), y.tensor(), dtype == DType::bf16 ? &packed : nullptr),
              readable());
    return y;
  }
  bool readable() const { return dtype == DType::f32 || packed.empty() || !packed.pair_pieces().empty(); }
};

constexpr std::array<int64_t, 2> kShapes[] = {{768, 768},  {768, 2304}, {3072, 768}, {768, 3072}, {1, 1},
                                              {5, 3},      {16, 7},     {33, 17},    {130, 515},  {100, 1000},
                                              {1056, 400}, {64, 50257}, {96, 100}};

class RowProducts : public testing::TestWithParam<DType> {
 protected:
  void SetUp() override { cpu::init_isa(); }
};
INSTANTIATE_TEST_SUITE_P(Types, RowProducts, testing::Values(DType::f32, DType::bf16),
                         [](const auto& info) { return std::string(dtype_name(info.param)); });

TEST_P(RowProducts, EqualDouble) {
  int readable = 0;
  for (const auto& [K, N] : kShapes) {
    Factors f(K, N, GetParam());
    readable += f.readable() ? 1 : 0;
    if (!f.readable()) continue;
    const twin::Mat want = twin::linear(f.x, f.w, Matrix(), Activation::none).y;
    twin::expect_close(f.run(0, kMost), want, 2e-6, fmt::format("K {} N {}", K, N));
  }
  EXPECT_GE(readable, 5);  // the base-sized ones at least
}

TEST_P(RowProducts, ARowsBitsDependOnNothingButTheRow) {
  for (const auto& [K, N] : kShapes) {
    Factors f(K, N, GetParam());
    if (!f.readable()) continue;
    const Matrix whole = f.run(0, kMost);
    for (int64_t n = 1; n < kMost; ++n) {
      for (const int64_t first : {int64_t{0}, kMost - n})
        expect_same_bits(f.run(first, n), rows_of(whole, first, n),
                         fmt::format("K {} N {}: rows {} to {} alone", K, N, first, first + n));
    }
    for (const int threads : {1, 3, 16}) {
      set_num_threads(threads);
      expect_same_bits(f.run(0, kMost), whole, fmt::format("K {} N {} with {} threads", K, N, threads));
    }
    set_num_threads(0);
  }
}

TEST_P(RowProducts, NanAndInfinityReachTheirOwnRowAndColumnOnly) {
  for (const float bad : {NAN, INFINITY}) {
    for (const bool in_x : {true, false}) {
      Matrix x = random_matrix(kMost, 96, "x"), w = random_matrix(48, 96, "w");
      (in_x ? x.at(2, 95) : w.at(7, 33)) = bad;
      Factors f(x, w, GetParam());
      ASSERT_TRUE(f.readable());
      const Matrix y = f.run(0, kMost);
      for (int64_t r = 0; r < kMost; ++r)
        for (int64_t c = 0; c < 48; ++c)
          EXPECT_EQ(std::isfinite(y.at(r, c)), in_x ? r != 2 : c != 7) << bad << ": " << r << ", " << c;
    }
  }
}

// The operation: bias, activation and the bf16 copy of the result as in the usual product.
TEST(RowLinear, IsTheLinearLayer) {
  for (const bool bf16 : {false, true}) {
    for (const Activation activation : {Activation::none, Activation::gelu_new, Activation::relu}) {
      ParameterStore store;
      const Linear layer{declare(store, "weight", {130, 96}), declare(store, "bias", {130}), 1};
      fill_store(store, 0.1f);
      const auto run = [&](int64_t rows, bool by_row) {
        return run_forward(store, {rows_of(random_matrix(kMost, 96, "x"), 0, rows)},
                           [&](Tape& t, const auto& in) { return linear(t, in[0], layer, activation); },
                           {.bf16 = bf16, .by_row = by_row});
      };
      const Matrix usual = run(kMost, false), by_row = run(kMost, true);
      twin::expect_close(by_row, usual, bf16 ? 1e-5 : 2e-6, fmt::format("bf16 {}", bf16));
      for (const int64_t rows : {1, 5})
        expect_same_bits(run(rows, true), rows_of(by_row, 0, rows), fmt::format("{} rows", rows));
    }
  }
}

TEST(RowLinear, TypesAndShapesAreChecked) {
  using graft::test::error_of;
  Matrix x(2, 8), w(3, 8), y(2, 4);
  EXPECT_THAT(error_of([&] { cpu::row_products(x.tensor(), w.tensor(), y.tensor(), nullptr); }),
              testing::HasSubstr("row_products: [2, 8] and [3, 8] do not give [2, 4]"));
}

}  // namespace
}  // namespace graft::engine::test
