#include "hub/state_dict.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/threads.h"

namespace graft::hub {

int64_t TensorView::num_elements() const {
  int64_t n = 1;
  for (int64_t d : shape) n *= d;
  return n;
}

void StateDict::add(TensorView tensor) {
  const auto [at, fresh] = index_.emplace(tensor.name, tensors_.size());
  if (!fresh) {
    const std::string& other = tensors_[at->second].file;
    fail("{}: tensor '{}' is there twice{}", tensor.file, tensor.name,
         other == tensor.file ? "" : "; the other one is in " + other);
  }
  tensors_.push_back(std::move(tensor));
}

void StateDict::keep(std::shared_ptr<const void> owner) { owners_.push_back(std::move(owner)); }

const TensorView* StateDict::find(const std::string& name) const {
  const auto at = index_.find(name);
  return at == index_.end() ? nullptr : &tensors_[at->second];
}

namespace {

// `data` may be unaligned, hence memcpy, which compiles to (vector) loads.
template <class Stored, class Convert>
void convert(const std::byte* data, int64_t n, float* out, Convert to_float) {
  parallel_blocks(n, int64_t{1} << 18, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      Stored value;
      std::memcpy(&value, data + static_cast<size_t>(i) * sizeof(Stored), sizeof(Stored));
      out[i] = to_float(value);
    }
  });
}

// A value that is finite in fp64 and infinite in fp32 is an error.
void check_range(const TensorView& tensor, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    double value;
    std::memcpy(&value, tensor.data + static_cast<size_t>(i) * sizeof value, sizeof value);
    if (!std::isfinite(value) || std::isfinite(static_cast<float>(value))) continue;
    fail("{}: tensor '{}' holds {} at index {}, which fp32 cannot hold", tensor.file, tensor.name, value, i);
  }
}

}  // namespace

void copy_to_float(const TensorView& tensor, float* out) {
  const int64_t n = tensor.num_elements();
  switch (tensor.dtype) {
    case DType::f32:
      return convert<float>(tensor.data, n, out, [](float v) { return v; });
    case DType::bf16:
      return convert<uint16_t>(tensor.data, n, out, [](uint16_t v) { return bf16_to_float(v); });
    case DType::f16:
      return convert<uint16_t>(tensor.data, n, out, [](uint16_t v) { return f16_to_float(v); });
    case DType::f64:
      check_range(tensor, n);
      return convert<double>(tensor.data, n, out, [](double v) { return static_cast<float>(v); });
    default:
      fail("{}: tensor '{}' holds {}; floating point values (F32, F16, BF16, F64) were expected", tensor.file,
           tensor.name, dtype_name(tensor.dtype));
  }
}

}  // namespace graft::hub
