// Memory of a thread for a kernel's temporaries; grows to the largest use and stays.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>

namespace graft::engine::cpu {

// At least n floats, 64-byte aligned, not initialised; the same memory at every call for one slot (0..7) of a
// thread.
inline float* float_scratch(int slot, int64_t n) {
  struct Buffer {
    std::unique_ptr<float[]> memory;
    int64_t size = 0;
  };
  thread_local Buffer buffers[8];
  Buffer& b = buffers[slot];
  if (b.size < n) {
    b.memory.reset(new float[static_cast<size_t>(n) + 16]);
    b.size = n;
  }
  return reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(b.memory.get()) + 63) / 64 * 64);
}

}  // namespace graft::engine::cpu
