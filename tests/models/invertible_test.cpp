// The invertible adapter against its formula in double, by finite differences, and its inverse.
#include "models/invertible.h"

#include <algorithm>

#include "engine/plain_twins.h"
#include "models/scope.h"
#include "support/shared.h"

namespace graft::models {
namespace {

using engine::Activation;
using engine::Parameter;
using engine::ParameterStore;
using engine::Tape;
using engine::Var;
using engine::test::Matrix;
using engine::twin::Mat;
using graft::test::error_of;
using testing::AllOf;
using testing::HasSubstr;

struct Declared {
  ParameterStore store;
  InvertibleAdapter adapter;
  Declared(int64_t width, double factor, Activation activation)
      : adapter(declare_invertible(Scope(store, "bert.invertible_adapters.xx"), width, factor, activation)) {
    engine::test::fill_store(store);
  }
  Mat matrix(const std::string& part) const {
    const Parameter* p = store.find("bert.invertible_adapters.xx." + part);
    Matrix m(p->rows(), p->cols());
    std::copy_n(store.value(*p), p->size, m.v.data());
    return m;
  }
  // F or G of a matrix of rows.
  Mat net(const std::string& name, const Mat& x) const {
    const Mat narrow =
        engine::twin::linear(x, matrix(name + ".0.weight"), matrix(name + ".0.bias"), adapter.activation).y;
    return engine::twin::linear(narrow, matrix(name + ".2.weight"), matrix(name + ".2.bias"),
                                Activation::none)
        .y;
  }
};

Mat columns(const Mat& x, int64_t first, int64_t count) {
  Mat out(x.rows, count);
  for (int64_t r = 0; r < x.rows; ++r)
    for (int64_t c = 0; c < count; ++c) out(r, c) = x(r, first + c);
  return out;
}

// a + sign * b
Mat sum(Mat a, const Mat& b, double sign) {
  for (size_t i = 0; i < a.v.size(); ++i) a.v[i] += sign * b.v[i];
  return a;
}

Mat side_by_side(const Mat& a, const Mat& b) {
  Mat out(a.rows, a.cols + b.cols);
  for (int64_t r = 0; r < a.rows; ++r)
    for (int64_t c = 0; c < out.cols; ++c) out(r, c) = c < a.cols ? a(r, c) : b(r, c - a.cols);
  return out;
}

// NICECouplingBlock.forward of the library, in double.
Mat plain(const Declared& d, const Mat& x, bool inverted) {
  const int64_t half = x.cols / 2;
  Mat first = columns(x, 0, half), second = columns(x, half, x.cols - half);
  if (inverted) {
    second = sum(second, d.net("G", first), -1);
    first = sum(first, d.net("F", second), -1);
  } else {
    first = sum(first, d.net("F", second), 1);
    second = sum(second, d.net("G", first), 1);
  }
  return side_by_side(first, second);
}

// An even and an odd number of columns, and factors that leave a fraction.
TEST(Invertible, ComputesItsFormulaAndHasItsGradients) {
  for (const auto& [width, factor] : {std::pair<int64_t, double>{12, 2}, {13, 2}, {10, 1.6}, {8, 4}}) {
    Declared d(width, factor, Activation::gelu);  // relu has a kink, where differences are no gradient
    const Matrix x = engine::test::random_matrix(7, width, "x");
    for (const bool inverted : {false, true}) {
      const auto f = [&](Tape& tape, const std::vector<Var>& in) {
        return inverted ? invert(tape, d.adapter, in[0]) : transform(tape, d.adapter, in[0]);
      };
      const std::string what = fmt::format("width {}, factor {}, inverted {}", width, factor, inverted);
      SCOPED_TRACE(what);
      engine::twin::expect_close(engine::test::run_forward(d.store, {x}, f), plain(d, x, inverted), 1e-6,
                                 what);
      engine::test::expect_gradients(d.store, {x}, f);
      engine::test::expect_thread_free([&] { return engine::test::run_pass(d.store, {x}, f); }, what);
    }
  }
}

TEST(Invertible, ItsInverseGivesTheInputBack) {
  Declared d(13, 2, Activation::relu);
  const Matrix x = engine::test::random_matrix(9, 13, "x");
  const Matrix y = engine::test::run_forward(d.store, {x}, [&](Tape& tape, const std::vector<Var>& in) {
    return transform(tape, d.adapter, in[0]);
  });
  const Matrix back = engine::test::run_forward(
      d.store, {y}, [&](Tape& tape, const std::vector<Var>& in) { return invert(tape, d.adapter, in[0]); });
  double moved = 0, left = 0;
  for (size_t i = 0; i < x.v.size(); ++i) {
    moved = std::max(moved, std::abs(double{y.v[i]} - x.v[i]));
    left = std::max(left, std::abs(double{back.v[i]} - x.v[i]));
  }
  EXPECT_GT(moved, 0.1);
  EXPECT_LT(left, 1e-5);
}

TEST(Invertible, HasTheShapesOfTheLibrary) {
  const Declared d(13, 2, Activation::relu);
  const auto shape = [&](const std::string& part) {
    return d.store.find("bert.invertible_adapters.xx." + part)->shape;
  };
  EXPECT_EQ(shape("F.0.weight"), (std::vector<int64_t>{3, 7}));
  EXPECT_EQ(shape("F.2.weight"), (std::vector<int64_t>{6, 3}));
  EXPECT_EQ(shape("G.0.weight"), (std::vector<int64_t>{3, 6}));
  EXPECT_EQ(shape("G.2.bias"), (std::vector<int64_t>{7}));
}

TEST(Invertible, WithoutAColumnIsRefused) {
  EXPECT_THAT(error_of([] { Declared(12, 7, Activation::relu); }),
              AllOf(HasSubstr("inv_adapter_reduction_factor 7 leaves no column of a half of 6 columns"),
                    HasSubstr("give a factor of at most 6")));
}

}  // namespace
}  // namespace graft::models
