// A device: memory and the kernels that compute in it. The CPU is one entry of a table; a second backend is
// another. Parameters, moments, activations and gradients lie in the device's memory; host code reaches them
// through copies, HostRead and HostWrite only.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "engine/tensor.h"

namespace graft::engine {

struct Kernels;

struct Device {
  const char* name;
  std::string (*description)();  // for the log: "avx512"
  // Its memory is the host's: host code reads and writes it without a copy. Arenas reserve addresses of their
  // own there.
  bool is_host;

  const Kernels& (*kernels)();
  const Kernels& (*plan_kernels)();  // compute nothing, note what kernels() takes beside the arena
  bool (*has_bf16)();                // matrix products of bf16 operands
  bool (*bf16_is_faster)();          // than fp32

  // Zeros, aligned to 64 bytes. Throws Error, which names `what` is allocated.
  void* (*alloc)(size_t bytes, const char* what);
  void (*free)(void* p, size_t bytes);
  void (*fill)(float* p, int64_t n, float value);
  // Host memory is read (copy_in) or complete (copy_out) on return.
  void (*copy_in)(void* to, const void* from, size_t bytes);
  void (*copy_out)(void* to, const void* from, size_t bytes);
  void (*copy)(void* to, const void* from, size_t bytes);  // within the device
  void (*sync)();                                          // waits for all kernels and copies
};

const Device& cpu_device();
// The devices that can be used, the default first. A backend appends itself or takes the first place.
std::vector<const Device*>& devices();
inline const Device& default_device() { return *devices().front(); }

// Floats of a device for reading on the host: the memory itself where it is the host's, else a copy.
class HostRead {
 public:
  HostRead(const Device& device, const float* p, int64_t n);
  HostRead(const Device& device, Tensor t);  // fp32: [rows, cols] without a stride
  HostRead(HostRead&&) = default;
  HostRead(const HostRead&) = delete;
  HostRead& operator=(const HostRead&) = delete;
  const float* data() const { return data_; }
  int64_t size() const { return size_; }
  const float* begin() const { return data_; }
  const float* end() const { return data_ + size_; }
  float operator[](int64_t i) const { return data_[i]; }

 private:
  std::vector<float> copy_;
  const float* data_;
  int64_t size_;
};

// Floats of a device for writing all of them on the host: the memory itself where it is the host's, else a
// buffer that the destructor copies in.
class HostWrite {
 public:
  HostWrite(const Device& device, float* p, int64_t n);
  ~HostWrite();
  HostWrite(const HostWrite&) = delete;
  HostWrite& operator=(const HostWrite&) = delete;
  float* data() const { return data_; }

 private:
  const Device& device_;
  float* target_;
  std::vector<float> buffer_;
  float* data_;
};

}  // namespace graft::engine
