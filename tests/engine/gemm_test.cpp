// Products against double, and what docs/design.md asks of the grid of tiles: a row's bits depend neither on
// the height of its tile, nor on its neighbours, nor on its place.
#include "engine/cpu/gemm.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/dtype.h"
#include "base/threads.h"
#include "engine/cpu/isa.h"
#include "engine/kernels.h"
#include "engine/plain_twins.h"
#include "support/shared.h"

namespace graft::engine::test {
namespace {

using cpu::Layout;
using cpu::PackedMatrix;

class Gemm : public testing::Test {
 protected:
  void SetUp() override { cpu::init_isa(); }
};
using GemmTiles = Gemm;

// A matrix in one of the two input types.
struct Operand {
  Matrix f32;
  std::vector<uint16_t> bf16;
  DType dtype;
  Operand(const Matrix& m, DType as) : f32(m), dtype(as) {
    if (dtype != DType::bf16) return;
    for (float& x : f32.v) {
      bf16.push_back(float_to_bf16(x));
      x = bf16_to_float(bf16.back());
    }
    // gemm_tn reads zero rows behind bf16 operands, as Tape::bf16_copy_of provides them.
    bf16.resize(static_cast<size_t>(padded_rows(f32.rows) * f32.cols), 0);
  }
  Tensor tensor() {
    return dtype == DType::f32 ? f32.tensor() : make_tensor(bf16.data(), f32.rows, f32.cols, DType::bf16);
  }
};

std::vector<DType> input_types() {
  return cpu::has_bf16_gemm() ? std::vector{DType::f32, DType::bf16} : std::vector{DType::f32};
}

Matrix transposed(const Matrix& m) {
  Matrix t(m.cols, m.rows);
  for (int64_t r = 0; r < m.rows; ++r) {
    for (int64_t c = 0; c < m.cols; ++c) t.at(c, r) = m.at(r, c);
  }
  return t;
}

// y [T,N] = start + x [T,K] w[N,K]^T in double.
twin::Mat product(const Matrix& x, const Matrix& w, const Matrix& start) {
  twin::Mat y = start;
  for (int64_t t = 0; t < x.rows; ++t) {
    for (int64_t n = 0; n < w.rows; ++n) {
      double sum = 0;
      for (int64_t k = 0; k < x.cols; ++k) sum += double{x.at(t, k)} * double{w.at(n, k)};
      y(t, n) += sum;
    }
  }
  return y;
}

void compare(int64_t T, int64_t K, int64_t N) {
  for (const DType dtype : input_types()) {
    Operand x(random_matrix(T, K, "x"), dtype), w(random_matrix(N, K, "w"), dtype),
        wt(transposed(w.f32), dtype);
    const Matrix before = random_matrix(T, N, "y");
    const twin::Mat fresh = product(x.f32, w.f32, Matrix(T, N));
    for (const Layout layout : {Layout::nt, Layout::nn}) {
      Tensor weights = layout == Layout::nt ? w.tensor() : wt.tensor();
      PackedMatrix packed;
      packed.pack(weights, layout);
      for (const bool add : {false, true}) {
        const std::string what = fmt::format("T {} K {} N {} {} {} add {}", T, K, N, dtype_name(dtype),
                                             layout == Layout::nt ? "nt" : "nn", add);
        twin::Mat want = fresh;
        for (size_t i = 0; add && i < want.v.size(); ++i) want.v[i] += before.v[i];
        Matrix y = before, z = before;
        cpu::gemm(x.tensor(), weights, layout, y.tensor(), add);
        cpu::gemm(x.tensor(), weights, layout, z.tensor(), add, &packed);
        // fp32 sums of K products: the worst of N*T rounds like sqrt(K) * 6e-8 of the sum of magnitudes.
        twin::expect_close(y, want, 2e-6, what);
        twin::expect_close(z, want, 2e-6, what + " packed");
      }
    }
  }
}

TEST_F(Gemm, EqualsDoubleForEveryHeight) {
  for (int64_t T = 1; T <= 200; T += T < 100 ? 1 : 7) compare(T, 33, 17);
}
TEST_F(Gemm, EqualsDoubleForOddShapes) {
  for (const auto& [T, K, N] : {std::array<int64_t, 3>{1, 1, 1},
                                {3, 5, 3},
                                {17, 64, 100},
                                {97, 130, 515},
                                {25, 768, 770},
                                {30, 2500, 40},
                                {100, 96, 769},
                                {65, 7, 1153},
                                {0, 5, 3}}) {
    compare(T, K, N);
  }
}
TEST_F(Gemm, EqualsDoubleForAVocabulary) {
  compare(9, 32, 30522);
  compare(50, 16, 4097);
}

TEST_F(Gemm, ReadsAndWritesStridedViews) {
  Matrix x = random_matrix(21, 40, "x"), w = random_matrix(12, 30, "w"), y(21, 50, 9);
  Tensor xs = x.tensor().columns(5, 30), ys = y.tensor().columns(7, 12);
  cpu::gemm(xs, w.tensor(), Layout::nt, ys, false);
  twin::expect_close(copy_of(ys), product(copy_of(xs), w, Matrix(21, 12)), 2e-6, "strided");
  for (int64_t r = 0; r < 21; ++r) {
    for (const int64_t c : {0, 6, 19, 49}) ASSERT_EQ(y.at(r, c), 9) << "wrote outside";
  }
}

TEST_F(Gemm, WeightGradientEqualsDouble) {
  for (const int64_t T : {0, 1, 15, 16, 17, 255, 256, 257, 300, 600}) {
    for (const auto& [N, K] : {std::pair<int64_t, int64_t>{5, 3}, {200, 50}, {193, 33}, {31, 800}}) {
      for (const DType dtype : input_types()) {
        for (const bool add : {false, true}) {
          Operand dy(random_matrix(T, N, "dy"), dtype), x(random_matrix(T, K, "x"), dtype);
          Matrix dw = random_matrix(N, K, "dw");
          const twin::Mat want = product(transposed(dy.f32), transposed(x.f32), add ? dw : Matrix(N, K));
          cpu::gemm_tn(dy.tensor(), x.tensor(), dw.tensor(), add);
          twin::expect_close(dw, want, 2e-6,
                             fmt::format("T {} N {} K {} {} add {}", T, N, K, dtype_name(dtype), add));
        }
      }
    }
  }
}

TEST_F(Gemm, EpilogueSeesEveryElementOnceAndFinished) {
  for (const int64_t T : {1, 8, 49, 100, 193}) {
    for (const int64_t N : {5, 512, 769, 5000}) {
      Matrix x(T, 3, 1), w(N, 3, 2), y(T, N, -1);
      cpu::Epilogue epilogue;
      epilogue.state = &y;
      epilogue.run = [](void* state, Tensor tile, int64_t row, int64_t col) {
        Matrix& m = *static_cast<Matrix*>(state);
        for (int64_t r = 0; r < tile.rows; ++r) {
          for (int64_t c = 0; c < tile.cols; ++c) m.at(row + r, col + c) = tile.row(r)[c] + 1;
        }
      };
      cpu::gemm(x.tensor(), w.tensor(), Layout::nt, y.tensor(), false, nullptr, epilogue);
      EXPECT_EQ(y.v, std::vector<float>(static_cast<size_t>(T * N), 7)) << T << " " << N;
    }
  }
}

struct Shape {
  int64_t K, N;
};
// BERT-base's projections, the golden models' and those of the tests' smallest model, whose 16 terms are half
// of an AMX tile.
constexpr Shape kBert[] = {{768, 768}, {768, 3072}, {3072, 768}, {32, 48}, {128, 512}, {16, 48},  {16, 16},
                           {16, 32},   {32, 16},    {8, 16},     {32, 17}, {256, 8},   {1024, 16}};

// Every height in use against the first one, for one product of 96 rows, tiles as gemm cuts them: 384
// columns.
TEST_F(GemmTiles, EveryHeightGivesARowTheSameBits) {
  constexpr int64_t kRows = 96;
  for (const DType dtype : input_types()) {
    for (const Shape& shape : kBert) {
      const int64_t depth = cpu::tile_depth(dtype, shape.K);
      Operand x(random_matrix(kRows, depth, "x"), dtype), w(random_matrix(shape.N, depth, "w"), dtype),
          wt(transposed(w.f32), dtype);
      const int64_t cols = shape.N <= 512 ? shape.N : 384;
      for (const Layout layout : {Layout::nt, Layout::nn}) {
        for (const bool add : {false, true}) {
          Matrix first;
          for (const int64_t height : cpu::tile_heights(dtype, cols)) {
            ASSERT_EQ(kRows % height, 0);
            Matrix y = random_matrix(kRows, cols, "y");
            for (int64_t r = 0; r < kRows; r += height) {
              Tensor xs = x.tensor(), ys = y.tensor(), ws = layout == Layout::nt ? w.tensor() : wt.tensor();
              xs.data = static_cast<char*>(xs.data) + r * xs.stride * static_cast<int64_t>(dtype_size(dtype));
              ys.data = y.v.data() + r * cols;
              xs.rows = ys.rows = height;
              (layout == Layout::nt ? ws.rows : ws.cols) = cols;
              cpu::gemm_tile(xs, ws, layout, ys, add);
            }
            if (first.v.empty()) first = y;
            expect_same_bits(first, y,
                             fmt::format("{} height {} K {} N {} of {} {} add {}", dtype_name(dtype), height,
                                         shape.K, cols, shape.N, layout == Layout::nt ? "nt" : "nn", add));
          }
        }
      }
    }
  }
}

// The whole of gemm: rows of a big product against the same rows alone, moved and among others, row-major and
// packed.
TEST_F(GemmTiles, ARowsBitsDependOnNothingButTheRow) {
  for (const DType dtype : input_types()) {
    for (const Shape& shape : {Shape{768, 768},
                               {3072, 768},
                               {768, 3072},
                               {32, 48},
                               {128, 512},
                               {100, 1000},
                               {33, 17},
                               {64, 16},
                               {64, 784},
                               {128, 12}}) {
      for (const Layout layout : {Layout::nt, Layout::nn}) {
        for (const bool pack : {false, true}) {
          const int64_t T = 205;
          Operand x(random_matrix(T, shape.K, "x"), dtype);
          Operand w(layout == Layout::nt ? random_matrix(shape.N, shape.K, "w")
                                         : random_matrix(shape.K, shape.N, "w"),
                    dtype);
          PackedMatrix packed;
          if (pack) packed.pack(w.tensor(), layout);
          const auto run = [&](int64_t first, int64_t n) {
            Operand part(rows_of(x.f32, first, n), dtype);
            Matrix y(n, shape.N);
            cpu::gemm(part.tensor(), w.tensor(), layout, y.tensor(), false, &packed);
            return y;
          };
          const Matrix whole = run(0, T);
          for (const auto& [first, n] : {std::pair<int64_t, int64_t>{0, 1},
                                         {204, 1},
                                         {100, 8},
                                         {3, 17},
                                         {90, 30},
                                         {7, 55},
                                         {1, 66},
                                         {5, 80},
                                         {60, 145}}) {
            expect_same_bits(
                run(first, n), rows_of(whole, first, n),
                fmt::format("{} K {} N {} {}{}: rows {} to {} alone", dtype_name(dtype), shape.K, shape.N,
                            layout == Layout::nt ? "nt" : "nn", pack ? " packed" : "", first, first + n));
          }
        }
      }
    }
  }
}

// x w^T has the same bits with fp32 weights that are packed, so that predictions may pack theirs at any time.
TEST_F(GemmTiles, PackedWeightsInFp32GiveTheBitsOfPlainOnes) {
  for (const Shape& shape : {Shape{768, 768},
                             {384, 1152},
                             {1536, 384},
                             {3072, 768},
                             {768, 3072},
                             {32, 48},
                             {128, 2},
                             {100, 1000},
                             {33, 17},
                             {1000, 5}}) {
    const Matrix w = random_matrix(shape.N, shape.K, "w");
    Operand weights(w, DType::f32);
    PackedMatrix packed;
    packed.pack(weights.tensor(), Layout::nt);
    for (const int64_t T : {1, 7, 16, 24, 40, 48, 66, 90, 96, 205}) {
      Operand x(random_matrix(T, shape.K, "x"), DType::f32);
      Matrix plain(T, shape.N), blocked(T, shape.N);
      cpu::gemm(x.tensor(), weights.tensor(), Layout::nt, plain.tensor(), false);
      cpu::gemm(x.tensor(), weights.tensor(), Layout::nt, blocked.tensor(), false, &packed);
      expect_same_bits(blocked, plain, fmt::format("T {} K {} N {}", T, shape.K, shape.N));
    }
  }
}

// Weights come as fp32 and are rounded while they are packed: the same products as from a rounded copy.
TEST_F(GemmTiles, PackingRoundsAsACopyDoes) {
  if (!cpu::has_bf16_gemm()) {  // then there is no packed order, and the rounded matrix stands in for it
    Matrix w = random_matrix(48, 40, "w");
    PackedMatrix packed;
    packed.pack(w.tensor(), Layout::nt, DType::bf16);
    const Tensor rounded = packed.checked(w.tensor(), Layout::nt, DType::bf16);
    ASSERT_EQ(rounded.dtype, DType::bf16);
    for (size_t i = 0; i < w.v.size(); ++i)
      ASSERT_EQ(static_cast<const uint16_t*>(rounded.data)[i], float_to_bf16(w.v[i]));
    return;
  }
  for (const Shape& shape : {Shape{768, 768},
                             {3072, 768},
                             {768, 2304},
                             {64, 128},
                             {96, 100},
                             {33, 17},
                             {768, 2},
                             {30, 90},
                             {2, 768},
                             {5, 3}}) {
    for (const Layout layout : {Layout::nt, Layout::nn}) {
      Matrix w = layout == Layout::nt ? random_matrix(shape.N, shape.K, "w", 3)
                                      : random_matrix(shape.K, shape.N, "w", 3);
      w.v[5] = 1.00390625f;  // a tie
      Operand x(random_matrix(50, shape.K, "x"), DType::bf16), rounded(w, DType::bf16);
      PackedMatrix from_fp32, from_copy;
      from_fp32.pack(w.tensor(), layout, DType::bf16);
      from_copy.pack(rounded.tensor(), layout);
      // gemm reads nothing but the packed form where w is fp32.
      Matrix a(50, shape.N), b(50, shape.N);
      cpu::gemm(x.tensor(), w.tensor(), layout, a.tensor(), false, &from_fp32);
      cpu::gemm(x.tensor(), rounded.tensor(), layout, b.tensor(), false, &from_copy);
      expect_same_bits(a, b, fmt::format("K {} N {}", shape.K, shape.N));
    }
  }
}

// One sweep over the values, where the library's orders allow it, makes the two forms that pack() makes.
TEST_F(GemmTiles, BothFormsAtOnceAreTheTwoForms) {
  for (const auto& [N, K] : {std::pair<int64_t, int64_t>{768, 768},
                             {2304, 64},
                             {64, 2304},
                             {1152, 1152},
                             {16, 64},
                             {48, 192},
                             {100, 96},
                             {5, 3}}) {
    Matrix w = random_matrix(N, K, "w", 3);
    w.v[2] = 1.00390625f;  // a tie
    PackedMatrix nt, nn, both_nt, both_nn;
    nt.pack(w.tensor(), Layout::nt, DType::bf16);
    nn.pack(w.tensor(), Layout::nn, DType::bf16);
    PackedMatrix::pack_both(w.tensor(), DType::bf16, both_nt, both_nn);
    Operand x(random_matrix(50, K, "x"), DType::bf16), dy(random_matrix(50, N, "dy"), DType::bf16);
    for (const auto& [factor, layout, one, both] :
         {std::tuple{&x, Layout::nt, &nt, &both_nt}, {&dy, Layout::nn, &nn, &both_nn}}) {
      Matrix a(50, layout == Layout::nt ? N : K), b(50, layout == Layout::nt ? N : K);
      cpu::gemm(factor->tensor(), w.tensor(), layout, a.tensor(), false, one);
      cpu::gemm(factor->tensor(), w.tensor(), layout, b.tensor(), false, both);
      expect_same_bits(a, b, fmt::format("N {} K {}", N, K));
    }
  }
}

TEST_F(GemmTiles, BitsDoNotDependOnThreads) {
  for (const DType dtype : input_types()) {
    for (const int64_t T : {8, 300}) {
      Operand x(random_matrix(T, 768, "x"), dtype), w(random_matrix(3072, 768, "w"), dtype),
          dy(random_matrix(T, 192, "dy"), dtype);
      const auto run = [&] {
        Matrix y(T, 3072), dw(192, 768);
        cpu::gemm(x.tensor(), w.tensor(), Layout::nt, y.tensor(), false);
        cpu::gemm_tn(dy.tensor(), x.tensor(), dw.tensor(), false);
        return std::pair{y, dw};
      };
      set_num_threads(1);
      const auto one = run();
      for (const int threads : {2, 3, 16}) {
        set_num_threads(threads);
        const auto many = run();
        expect_same_bits(one.first, many.first, fmt::format("{} rows, {} threads", T, threads));
        expect_same_bits(one.second, many.second, fmt::format("gradient of {} rows, {} threads", T, threads));
      }
      set_num_threads(0);
    }
  }
}

// The library falls back on reference loops, a hundred times slower, where strides or shapes do not suit it:
// the products of a BERT step, their gradients and the masked LM's head must not meet one.
TEST_F(GemmTiles, NoProductOfAStepIsAReferenceImplementation) {
  if (cpu::isa_name() == "baseline") return;  // the library has few fast products for SSE4.1
  for (const DType dtype : input_types()) {
    for (const auto& [T, K, N] : {std::array<int64_t, 3>{424, 768, 2304},
                                  {424, 768, 768},
                                  {424, 768, 3072},
                                  {424, 3072, 768},
                                  {32, 768, 768},
                                  {1100, 768, 3072},
                                  {1100, 3072, 768},
                                  {75, 768, 30522}}) {
      const int64_t before = cpu::num_reference_tiles();
      Operand x(Matrix(T, K, 1), dtype), w(Matrix(N, K, 1), dtype), dy(Matrix(T, N, 1), dtype);
      Matrix y(T, N), dx(T, K), dw(N, K);
      PackedMatrix forward, backward;
      forward.pack(w.tensor(), Layout::nt);
      backward.pack(w.tensor(), Layout::nn);
      cpu::gemm(x.tensor(), w.tensor(), Layout::nt, y.tensor(), false, &forward);
      cpu::gemm(dy.tensor(), w.tensor(), Layout::nn, dx.tensor(), false, &backward);
      cpu::gemm_tn(dy.tensor(), x.tensor(), dw.tensor(), false);
      cpu::gemm_tn(dy.tensor(), x.tensor(), dw.tensor(), true);
      EXPECT_EQ(cpu::num_reference_tiles(), before)
          << dtype_name(dtype) << " T " << T << " K " << K << " N " << N;
    }
  }
}

// Memory of one type is never read as another: products of mixed types, and shapes that do not fit, are
// refused, and bf16 of fp32 weights is right whether or not the library has a blocked order for the shape.
TEST_F(Gemm, TypesAndShapesAreChecked) {
  using graft::test::error_of;
  using testing::HasSubstr;
  const Matrix m = random_matrix(8, 8, "m");
  Operand f(m, DType::f32), h(m, DType::bf16);
  Matrix y(8, 8), small(8, 7);
  std::vector<uint16_t> y_bf16(64);
  const Tensor out_bf16 = make_tensor(y_bf16.data(), 8, 8, DType::bf16);
  const auto product = [&](Tensor a, Tensor b, Tensor out) {
    return error_of([&] { cpu::gemm(a, b, Layout::nt, out, false); });
  };
  EXPECT_THAT(product(h.tensor(), f.tensor(), y.tensor()), HasSubstr("gemm: a product of BF16 and F32"));
  EXPECT_THAT(product(f.tensor(), h.tensor(), y.tensor()), HasSubstr("gemm: a product of F32 and BF16"));
  EXPECT_THAT(product(f.tensor(), f.tensor(), out_bf16), HasSubstr("cannot be stored as BF16"));
  EXPECT_THAT(product(f.tensor(), f.tensor(), small.tensor()),
              HasSubstr("[8, 8] and [8, 8] do not give [8, 7]"));
  EXPECT_THAT(error_of([&] { cpu::gemm_tn(h.tensor(), f.tensor(), y.tensor(), false); }),
              HasSubstr("gemm_tn: a product of BF16 and F32"));
  EXPECT_THAT(error_of([&] { cpu::gemm_tn(f.tensor(), f.tensor(), small.tensor(), false); }),
              HasSubstr("gemm_tn"));
  PackedMatrix fp32, transposed;
  fp32.pack(f.tensor(), Layout::nt);
  transposed.pack(f.tensor(), Layout::nn, DType::bf16);
  for (const PackedMatrix* wrong : {&fp32, &transposed}) {
    EXPECT_THAT(error_of([&] { cpu::gemm(h.tensor(), f.tensor(), Layout::nt, y.tensor(), false, wrong); }),
                HasSubstr("packed form"));
  }
  EXPECT_THAT(error_of([&] { fp32.pack(h.tensor(), Layout::nt, DType::f32); }), HasSubstr("BF16 weights"));
}

TEST_F(Gemm, Bf16OfFp32WeightsIsRightForEveryShape) {
  for (int64_t K = 1; K <= 40; K += K < 9 ? 1 : 7) {
    for (int64_t N = 1; N <= 70; N += N < 9 ? 1 : 11) {
      Operand x(random_matrix(5, K, "x"), DType::bf16);
      for (const Layout layout : {Layout::nt, Layout::nn}) {
        Matrix w = layout == Layout::nt ? random_matrix(N, K, "w") : random_matrix(K, N, "w"), y(5, N, NAN);
        const Operand rounded(layout == Layout::nt ? w : transposed(w), DType::bf16);
        PackedMatrix packed;
        packed.pack(w.tensor(), layout, DType::bf16);
        cpu::gemm(x.tensor(), w.tensor(), layout, y.tensor(), false, &packed);
        twin::expect_close(y, product(x.f32, rounded.f32, Matrix(5, N)), 2e-6,
                           fmt::format("K {} N {} {}", K, N, packed.empty() ? "row-major" : "blocked"));
      }
    }
  }
}

TEST_F(Gemm, TheCapOnInstructionSetsHolds) {
  const char* isa = std::getenv("GRAFT_ISA");
  if (isa && std::string(isa) != "avx512") {
    EXPECT_FALSE(cpu::has_bf16_gemm());
    EXPECT_FALSE(cpu::bf16_is_faster());
    EXPECT_NE(cpu::isa_name(), "avx512");
  }
  EXPECT_TRUE(cpu::has_bf16_gemm() || !cpu::bf16_is_faster());
  EXPECT_THAT(cpu::isa_name(), testing::AnyOf("avx512", "avx2", "baseline"));
}

}  // namespace
}  // namespace graft::engine::test
