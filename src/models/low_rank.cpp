#include "models/low_rank.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/philox.h"
#include "base/threads.h"

namespace graft::models {
namespace {

constexpr int kIterations = 24;
constexpr int64_t kMoreColumns = 8;  // beside `rank`: the wanted ones converge faster
constexpr int kMaxSweeps = 60;
constexpr double kOrthogonal = 1e-14;

// `count` vectors of length `n`, one after the other.
struct Vectors {
  int64_t count, n;
  std::vector<double> v;
  Vectors(int64_t count, int64_t n) : count(count), n(n), v(static_cast<size_t>(count * n)) {}
  double* row(int64_t i) { return v.data() + i * n; }
  const double* row(int64_t i) const { return v.data() + i * n; }
};

double dot(const double* a, const double* b, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

// Each x of `in` times w, or times its transpose. One task a vector: sums do not depend on the threads.
Vectors times(const float* w, int64_t rows, int64_t cols, const Vectors& in, bool transposed) {
  Vectors out(in.count, transposed ? cols : rows);
  parallel_for(in.count, [&](int64_t k) {
    const double* x = in.row(k);
    double* y = out.row(k);
    for (int64_t r = 0; r < rows; ++r) {
      const float* line = w + r * cols;
      if (transposed) {
        for (int64_t c = 0; c < cols; ++c) y[c] += static_cast<double>(line[c]) * x[r];
      } else {
        double sum = 0;
        for (int64_t c = 0; c < cols; ++c) sum += static_cast<double>(line[c]) * x[c];
        y[r] = sum;
      }
    }
  });
  return out;
}

// Gram-Schmidt, twice. A vector that depends on the ones before it becomes zero.
void orthonormalise(Vectors& q) {
  for (int64_t i = 0; i < q.count; ++i) {
    const double before = std::sqrt(dot(q.row(i), q.row(i), q.n));
    for (int pass = 0; pass < 2; ++pass)
      for (int64_t j = 0; j < i; ++j) {
        const double along = dot(q.row(i), q.row(j), q.n);
        for (int64_t c = 0; c < q.n; ++c) q.row(i)[c] -= along * q.row(j)[c];
      }
    const double length = std::sqrt(dot(q.row(i), q.row(i), q.n));
    const double factor = length > before * kOrthogonal && length > 0 ? 1 / length : 0;
    for (int64_t c = 0; c < q.n; ++c) q.row(i)[c] *= factor;
  }
}

void rotate(double* a, double* b, int64_t n, double cosine, double sine) {
  for (int64_t i = 0; i < n; ++i) {
    const double x = a[i], y = b[i];
    a[i] = cosine * x - sine * y;
    b[i] = sine * x + cosine * y;
  }
}

// One-sided Jacobi (Hestenes 1958): rotates pairs of vectors of `b`, and of `v` alike, until all of `b` are
// orthogonal.
void jacobi(Vectors& b, Vectors& v) {
  bool rotated = true;
  for (int sweep = 0; rotated && sweep < kMaxSweeps; ++sweep) {  // weights may be no numbers
    rotated = false;
    for (int64_t i = 0; i < b.count; ++i) {
      for (int64_t j = i + 1; j < b.count; ++j) {
        const double aa = dot(b.row(i), b.row(i), b.n), bb = dot(b.row(j), b.row(j), b.n),
                     ab = dot(b.row(i), b.row(j), b.n);
        if (std::fabs(ab) <= 1e-13 * std::sqrt(aa * bb)) continue;
        rotated = true;
        const double zeta = (bb - aa) / (2 * ab);
        const double t = (zeta >= 0 ? 1 : -1) / (std::fabs(zeta) + std::sqrt(1 + zeta * zeta));
        const double cosine = 1 / std::sqrt(1 + t * t);
        rotate(b.row(i), b.row(j), b.n, cosine, cosine * t);
        rotate(v.row(i), v.row(j), v.n, cosine, cosine * t);
      }
    }
  }
}

}  // namespace

SingularTriplets largest_singular_triplets(const float* w, int64_t rows, int64_t cols, int64_t rank) {
  const int64_t width = std::min({rank + kMoreColumns, rows, cols});
  Vectors right(width, cols);
  PhiloxStream stream(philox_key(0, 0, "singular"));
  for (double& x : right.v) x = stream.normal();
  orthonormalise(right);
  for (int i = 0; i < kIterations; ++i) {
    Vectors left = times(w, rows, cols, right, false);
    orthonormalise(left);
    right = times(w, rows, cols, left, true);
    orthonormalise(right);
  }
  Vectors left = times(w, rows, cols, right, false);
  jacobi(left, right);
  std::vector<double> lengths(static_cast<size_t>(width));
  for (int64_t k = 0; k < width; ++k)
    lengths[static_cast<size_t>(k)] = std::sqrt(dot(left.row(k), left.row(k), rows));
  std::vector<int64_t> order(static_cast<size_t>(width));
  std::iota(order.begin(), order.end(), int64_t{0});
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return lengths[static_cast<size_t>(a)] > lengths[static_cast<size_t>(b)];
  });
  SingularTriplets out;
  for (int64_t i = 0; i < rank; ++i) {
    const int64_t k = order[static_cast<size_t>(i)];
    const double value = lengths[static_cast<size_t>(k)];
    out.values.push_back(value);
    for (int64_t r = 0; r < rows; ++r) out.left.push_back(value > 0 ? left.row(k)[r] / value : 0);
    out.right.insert(out.right.end(), right.row(k), right.row(k) + cols);
  }
  return out;
}

}  // namespace graft::models
