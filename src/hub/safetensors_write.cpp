// Writing safetensors byte for byte as the reference library does.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <vector>

#include "base/durable_file.h"
#include "base/error.h"
#include "base/json.h"
#include "base/threads.h"
#include "hub/state_dict.h"

namespace graft::hub {

namespace {

// The reference sorts by its dtype enumeration, largest first, then by name
// (safetensors/src/tensor.rs: BOOL < U8 < I8 < I16 < F16 < BF16 < I32 < F32 < F64 < I64).
int dtype_rank(DType t) {
  switch (t) {
    case DType::i64:
      return 9;
    case DType::f64:
      return 8;
    case DType::f32:
      return 7;
    case DType::i32:
      return 6;
    case DType::bf16:
      return 5;
    case DType::f16:
      return 4;
    case DType::i16:
      return 3;
    case DType::i8:
      return 2;
    case DType::u8:
      return 1;
    case DType::boolean:
      return 0;
  }
  return 0;
}

uint64_t element_count(const TensorToWrite& t) {
  uint64_t n = 1;
  for (int64_t d : t.shape) {
    if (d < 0 || __builtin_mul_overflow(n, static_cast<uint64_t>(d), &n))
      fail("tensor '{}': shape [{}] cannot be written", t.name, fmt::join(t.shape, ", "));
  }
  return n;
}

// The JSON header with its size in front, padded with spaces so that the data begins at a multiple of 8.
std::string header_of(const std::vector<const TensorToWrite*>& order) {
  std::string json = R"({"__metadata__":{"format":"pt"})";
  uint64_t at = 0;
  for (const TensorToWrite* t : order) {
    const uint64_t end = at + stored_bytes(*t);
    json += fmt::format(R"(,{}:{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})", Json(t->name).dump(),
                        dtype_name(t->dtype), fmt::join(t->shape, ","), at, end);
    at = end;
  }
  json += '}';
  json.resize((json.size() + 7) / 8 * 8, ' ');
  const uint64_t size = json.size();
  std::string out(8, '\0');
  std::memcpy(out.data(), &size, 8);
  return out + json;
}

// Values are converted in blocks, so that the memory does not depend on the size of a tensor.
template <class Stored, class Convert>
void write_converted(DurableFile& file, const float* data, uint64_t n, Convert convert) {
  constexpr uint64_t kBlock = 1 << 20;
  std::vector<Stored> stored(std::min(n, kBlock));
  for (uint64_t begin = 0; begin < n; begin += kBlock) {
    const uint64_t count = std::min(kBlock, n - begin);
    parallel_blocks(static_cast<int64_t>(count), 1 << 16, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i)
        stored[static_cast<size_t>(i)] = convert(data[begin + static_cast<uint64_t>(i)]);
    });
    file.write(stored.data(), count * sizeof(Stored));
  }
}

// A value that is finite in fp32 and infinite in the stored type is an error.
void check_range(const TensorToWrite& t, uint64_t n) {
  if (t.dtype != DType::f16 && t.dtype != DType::bf16) return;
  const bool half = t.dtype == DType::f16;
  const auto overflows = [&](float v) {
    const float stored = half ? f16_to_float(float_to_f16(v)) : bf16_to_float(float_to_bf16(v));
    return std::isinf(stored) && !std::isinf(v);
  };
  const float* bad = std::find_if(t.data, t.data + n, overflows);
  if (bad == t.data + n) return;
  fail_with(half ? "store it as bfloat16 or float32" : "store it as float32",
            "tensor '{}' holds {} at index {}, which {} cannot store", t.name, *bad, bad - t.data,
            dtype_name(t.dtype));
}

// The values of a matrix whose data is its transpose.
std::vector<float> transposed_values(const TensorToWrite& t) {
  if (t.shape.size() != 2) fail("tensor '{}' is no matrix, so it has no transpose", t.name);
  const auto rows = static_cast<size_t>(t.shape[0]), cols = static_cast<size_t>(t.shape[1]);
  std::vector<float> out(rows * cols);
  parallel_blocks(t.shape[0], 64, [&](int64_t first, int64_t last) {
    for (size_t c = 0; c < cols; ++c)
      for (auto r = static_cast<size_t>(first); r < static_cast<size_t>(last); ++r)
        out[r * cols + c] = t.data[c * rows + r];
  });
  return out;
}

void write_values(DurableFile& file, TensorToWrite t) {
  const uint64_t n = element_count(t);
  if (t.bytes) return file.write(t.bytes, n * dtype_size(t.dtype));
  std::vector<float> values;
  if (t.transposed) {
    values = transposed_values(t);
    t.data = values.data();
  }
  check_range(t, n);
  switch (t.dtype) {
    case DType::bf16:
      return write_converted<uint16_t>(file, t.data, n, [](float v) { return float_to_bf16(v); });
    case DType::f16:
      return write_converted<uint16_t>(file, t.data, n, [](float v) { return float_to_f16(v); });
    case DType::f64:
      return write_converted<double>(file, t.data, n, [](float v) { return double{v}; });
    default:
      return file.write(t.data, n * sizeof(float));
  }
}

std::vector<const TensorToWrite*> in_file_order(const std::vector<TensorToWrite>& tensors) {
  std::vector<const TensorToWrite*> order;
  order.reserve(tensors.size());
  for (const TensorToWrite& t : tensors) order.push_back(&t);
  std::sort(order.begin(), order.end(), [](const TensorToWrite* a, const TensorToWrite* b) {
    const int ra = dtype_rank(a->dtype), rb = dtype_rank(b->dtype);
    return ra != rb ? ra > rb : a->name < b->name;
  });
  for (size_t i = 1; i < order.size(); ++i)
    if (order[i]->name == order[i - 1]->name) fail("tensor '{}' would be written twice", order[i]->name);
  return order;
}

}  // namespace

uint64_t stored_bytes(const TensorToWrite& t) {
  if (!t.bytes && t.dtype != DType::f32 && t.dtype != DType::bf16 && t.dtype != DType::f16 &&
      t.dtype != DType::f64)
    fail("tensor '{}': fp32 values cannot be stored as {}", t.name, dtype_name(t.dtype));
  return element_count(t) * dtype_size(t.dtype);
}

void write_safetensors(const std::filesystem::path& path, const std::vector<TensorToWrite>& tensors) try {
  const std::vector<const TensorToWrite*> order = in_file_order(tensors);
  const std::string header = header_of(order);
  const uint64_t size =
      std::accumulate(order.begin(), order.end(), uint64_t{header.size()},
                      [](uint64_t sum, const TensorToWrite* t) { return sum + stored_bytes(*t); });
  DurableFile file(path, size);
  file.write(header.data(), header.size());
  for (const TensorToWrite* t : order) write_values(file, *t);
  file.commit();
} catch (const Error& e) {
  const std::string what = e.what(), file = path.string();
  throw Error(what.starts_with(file) ? what : file + ": " + what, e.hint());
}

}  // namespace graft::hub
