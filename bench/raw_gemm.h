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

// Forward, dgrad and wgrad of a linear layer [in -> out] on T rows, `count` times a step.
void append_linear(std::vector<Product>& products, int64_t T, int64_t in, int64_t out, double count);
// Those of `layers` transformer layers on T rows.
std::vector<Product> layer_products(int64_t T, int64_t hidden, int64_t wide, int layers);

// Floating point operations a second over all products together: the best of the plain and the library's own
// layout for each, its rows as they are or with zero rows up to a multiple of 32 (which do not count), median
// of five.
double raw_rate(const std::vector<Product>& products, bool bf16);

}  // namespace graft::bench
