#include "engine/device.h"

namespace graft::engine {

std::vector<const Device*>& devices() {
  static std::vector<const Device*> table = {&cpu_device()};
  return table;
}

HostRead::HostRead(const Device& device, const float* p, int64_t n) : data_(p), size_(n) {
  if (device.is_host || n == 0) return;
  copy_.resize(static_cast<size_t>(n));
  device.copy_out(copy_.data(), p, copy_.size() * sizeof(float));
  data_ = copy_.data();
}

HostRead::HostRead(const Device& device, Tensor t) : data_(t.f32()), size_(t.size()) {
  if (device.is_host && t.contiguous()) return;
  copy_.resize(static_cast<size_t>(size_));
  for (int64_t r = 0; r < t.rows; ++r)
    device.copy_out(copy_.data() + r * t.cols, t.row(r), static_cast<size_t>(t.cols) * sizeof(float));
  data_ = copy_.data();
}

HostWrite::HostWrite(const Device& device, float* p, int64_t n)
    : device_(device), target_(p), buffer_(device.is_host ? 0 : static_cast<size_t>(n)) {
  data_ = device.is_host ? p : buffer_.data();
}

HostWrite::~HostWrite() {
  if (!device_.is_host) device_.copy_in(target_, buffer_.data(), buffer_.size() * sizeof(float));
}

}  // namespace graft::engine
