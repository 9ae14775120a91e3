// A view of numbers: pointer, type, shape. Rows are contiguous unless `stride` says otherwise.
#pragma once
#include <cstdint>

#include "base/dtype.h"

namespace graft::engine {

// Two-dimensional: [rows, cols]; a vector is [1, n], a scalar [1, 1]. The memory is owned by an arena
// or a parameter store.
struct Tensor {
  void* data = nullptr;
  int64_t rows = 0, cols = 0;
  int64_t stride = 0;  // elements from one row to the next
  DType dtype = DType::f32;

  int64_t size() const { return rows * cols; }
  explicit operator bool() const { return data != nullptr; }
  float* f32() const { return static_cast<float*>(data); }
  float* row(int64_t r) const { return f32() + r * stride; }
  bool contiguous() const { return stride == cols; }
  // Columns [first, first + count) of every row.
  Tensor columns(int64_t first, int64_t count) const {
    Tensor t = *this;
    t.data = static_cast<char*>(data) + first * static_cast<int64_t>(dtype_size(dtype));
    t.cols = count;
    return t;
  }
};

inline Tensor make_tensor(void* data, int64_t rows, int64_t cols, DType dtype = DType::f32) {
  return {data, rows, cols, cols, dtype};
}

}  // namespace graft::engine
