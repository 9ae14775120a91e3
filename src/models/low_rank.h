// The largest singular values of a matrix with their vectors.
#pragma once
#include <cstdint>
#include <vector>

namespace graft::models {

// w ~ sum over k of values[k] * left[k] right[k]^T, values descending.
struct SingularTriplets {
  std::vector<double> values;  // [rank]
  std::vector<double> left;    // [rank, rows]
  std::vector<double> right;   // [rank, cols]
};

// Of w [rows, cols], row-major, by subspace iteration (Halko et al. 2011, algorithm 4.4) from a fixed start:
// the same result in every run. rank <= min(rows, cols).
SingularTriplets largest_singular_triplets(const float* w, int64_t rows, int64_t cols, int64_t rank);

}  // namespace graft::models
