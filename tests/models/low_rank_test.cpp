// The largest singular values against matrices whose decomposition is known.
#include "models/low_rank.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/philox.h"

namespace graft::models {
namespace {

// Reflections I - 2 v v^T of diag(values) on both sides: its singular vectors are columns of the reflections.
struct KnownMatrix {
  int64_t rows, cols;
  std::vector<double> left, right, values;
  std::vector<float> w;

  KnownMatrix(int64_t rows, int64_t cols, const std::vector<double>& values)
      : rows(rows), cols(cols), left(unit(rows, "left")), right(unit(cols, "right")), values(values) {
    w.resize(static_cast<size_t>(rows * cols));
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < cols; ++c) {
        double sum = 0;
        for (size_t k = 0; k < values.size(); ++k)
          sum += values[k] * reflected(left, r, static_cast<int64_t>(k)) *
                 reflected(right, c, static_cast<int64_t>(k));
        w[static_cast<size_t>(r * cols + c)] = static_cast<float>(sum);
      }
  }
  static std::vector<double> unit(int64_t n, const char* name) {
    PhiloxStream stream(philox_key(1, 0, name));
    std::vector<double> v(static_cast<size_t>(n));
    double sum = 0;
    for (double& x : v) x = stream.normal(), sum += x * x;
    for (double& x : v) x /= std::sqrt(sum);
    return v;
  }
  static double reflected(const std::vector<double>& v, int64_t i, int64_t k) {
    return (i == k ? 1.0 : 0.0) - 2 * v[static_cast<size_t>(i)] * v[static_cast<size_t>(k)];
  }
};

TEST(SingularTriplets, AreThoseOfAKnownMatrix) {
  std::vector<double> values;
  for (int k = 0; k < 30; ++k) values.push_back(9 * std::pow(0.8, k));
  for (const auto& [rows, cols] : {std::pair{48, 30}, {30, 48}, {40, 40}}) {
    const KnownMatrix m(rows, cols, values);
    const SingularTriplets top = largest_singular_triplets(m.w.data(), rows, cols, 5);
    for (int64_t k = 0; k < 5; ++k) {
      EXPECT_NEAR(top.values[static_cast<size_t>(k)], values[static_cast<size_t>(k)], 1e-5);
      double along_left = 0, along_right = 0;
      for (int64_t r = 0; r < rows; ++r)
        along_left += top.left[static_cast<size_t>(k * rows + r)] * KnownMatrix::reflected(m.left, r, k);
      for (int64_t c = 0; c < cols; ++c)
        along_right += top.right[static_cast<size_t>(k * cols + c)] * KnownMatrix::reflected(m.right, c, k);
      EXPECT_NEAR(along_left * along_right, 1, 1e-6) << k;
    }
  }
}

TEST(SingularTriplets, OfAMatrixOfLowRankRestoreIt) {
  const KnownMatrix m(20, 16, {3, 3, 1});
  const SingularTriplets top = largest_singular_triplets(m.w.data(), 20, 16, 16);
  EXPECT_NEAR(top.values[0], 3, 1e-6);
  EXPECT_NEAR(top.values[3], 0, 1e-6);
  for (int64_t r = 0; r < 20; ++r)
    for (int64_t c = 0; c < 16; ++c) {
      double sum = 0;
      for (size_t k = 0; k < 16; ++k)
        sum += top.values[k] * top.left[k * 20 + static_cast<size_t>(r)] *
               top.right[k * 16 + static_cast<size_t>(c)];
      EXPECT_NEAR(sum, m.w[static_cast<size_t>(r * 16 + c)], 1e-6);
    }
}

}  // namespace
}  // namespace graft::models
