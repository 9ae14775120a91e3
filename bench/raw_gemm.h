// The limit: oneDNN itself on a step's matrix products, with its own threading and the layout it likes best.
#pragma once
#include <cstdint>
#include <vector>

namespace graft::bench {

struct Product {
  int64_t M, K, N;
  double count = 1;           // how often a step computes it
  bool transposed_x = false;  // wgrad: x is read by columns
};

// The products of one transformer layer, forward, dgrad and wgrad, for T rows.
std::vector<Product> layer_products(int64_t T, int64_t hidden, int64_t wide);

// Floating point operations a second over all products together: the best of the plain and the library's own
// layout for each, median of five.
double raw_rate(const std::vector<Product>& products, bool bf16);

}  // namespace graft::bench
