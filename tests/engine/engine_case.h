// What the engine's tests share: host matrices, ragged batches, one forward and backward of an operation with
// every gradient collected, finite differences, and equality to the bit.
#pragma once
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "engine/ops.h"
#include "engine/tape.h"

namespace graft::engine::test {

// Row-major fp32 in host memory.
struct Matrix {
  int64_t rows = 0, cols = 0;
  std::vector<float> v;

  Matrix() = default;
  Matrix(int64_t rows, int64_t cols, float fill = 0)
      : rows(rows), cols(cols), v(static_cast<size_t>(rows * cols), fill) {}
  float& at(int64_t r, int64_t c) { return v[static_cast<size_t>(r * cols + c)]; }
  float at(int64_t r, int64_t c) const { return v[static_cast<size_t>(r * cols + c)]; }
  Tensor tensor() { return make_tensor(v.data(), rows, cols); }
};

// Normal numbers times `scale`, the same at every call with one name.
Matrix random_matrix(int64_t rows, int64_t cols, std::string_view name, float scale = 1);
// Integers in [0, below).
std::vector<int32_t> random_ids(int64_t n, int64_t below, std::string_view name);
Matrix copy_of(Tensor t);
Matrix rows_of(const Matrix& m, int64_t first, int64_t count);

// A packed batch of sequences of these lengths; example indices count from `first_example` in steps of 3.
class Batch {
 public:
  explicit Batch(std::vector<int32_t> lengths, int64_t first_example = 0);
  Batch(const Batch&) = delete;
  Rows rows() const;
  int64_t num_rows() const { return static_cast<int64_t>(position_.size()); }
  int64_t begin(size_t sequence) const { return cu_seqlens_[sequence]; }
  int64_t example(size_t sequence) const { return example_[sequence]; }

 private:
  std::vector<int32_t> cu_seqlens_, position_, sequence_;
  std::vector<int64_t> example_;
};

// Declares a parameter.
Parameter* declare(ParameterStore& store, const std::string& name, std::vector<int64_t> shape);
// Allocates values and gradients and fills the values with normal numbers times `scale`.
void fill_store(ParameterStore& store, float scale = 0.5f);

using Forward = std::function<Var(Tape&, const std::vector<Var>& inputs)>;

// One forward and backward pass: the loss is the sum of output * weights, taken in double.
struct Pass {
  Matrix out;
  double loss = 0;
  std::vector<Matrix> input_grads;
  std::map<std::string, Matrix>
      parameter_grads;  // row-sparse ones spread out; parameters without one are absent
};
TapeOptions training();
// `weights` is the gradient of the output; null = random numbers.
Pass run_pass(ParameterStore& store, const std::vector<Matrix>& inputs, const Forward& forward,
              TapeOptions options = training(), const Matrix* weights = nullptr);
// The forward pass alone, nothing recorded.
Matrix run_forward(ParameterStore& store, const std::vector<Matrix>& inputs, const Forward& forward,
                   TapeOptions options = {});

// Central differences of every element of every input and parameter against the tape's gradients.
void expect_gradients(ParameterStore& store, std::vector<Matrix> inputs, const Forward& forward,
                      TapeOptions options = training(), double tolerance = 2e-3);

void expect_same_bits(const Matrix& a, const Matrix& b, const std::string& what);
// Each sequence of a batch of `lengths`, run alone with its own example index: its output and input gradient
// keep their bits. The layer's input is [rows, width].
void expect_no_neighbours(ParameterStore& store, const std::vector<int32_t>& lengths, int64_t width,
                          const std::function<Forward(const Batch&)>& layer, TapeOptions options,
                          const std::string& what);
void expect_same_bits(const Pass& a, const Pass& b, const std::string& what);
// Runs f with 1, 2, 3 and 16 threads and expects the same bits.
void expect_thread_free(const std::function<Pass()>& f, const std::string& what);

}  // namespace graft::engine::test
