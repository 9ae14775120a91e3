// Temporary memory of a kernel, owned by the thread. It grows to the largest use and is kept.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

#include "base/memory.h"

namespace graft::engine::cpu {

// 64-byte aligned, not initialised. Throws Error with the size if the allocation fails.
class ScratchBuffer {
 public:
  std::byte* at_least(size_t bytes) {
    if (size_ < bytes) {
      memory_.reset();
      size_ = 0;
      memory_.reset(new (std::nothrow) std::byte[bytes + 64]);
      if (!memory_) fail_allocation(bytes, "a kernel's temporary memory");
      size_ = bytes;
    }
    return reinterpret_cast<std::byte*>((reinterpret_cast<uintptr_t>(memory_.get()) + 63) / 64 * 64);
  }

 private:
  std::unique_ptr<std::byte[]> memory_;
  size_t size_ = 0;
};

// At least n floats; the same memory at every call for one slot (0..7) of a thread.
inline float* float_scratch(int slot, int64_t n) {
  thread_local ScratchBuffer buffers[8];
  return reinterpret_cast<float*>(buffers[slot].at_least(static_cast<size_t>(n) * sizeof(float)));
}

}  // namespace graft::engine::cpu
