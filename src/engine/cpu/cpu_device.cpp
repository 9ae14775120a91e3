// The CPU as a device: its memory is the host's.
#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "base/memory.h"
#include "engine/cpu/gemm.h"
#include "engine/cpu/isa.h"
#include "engine/device.h"
#include "engine/kernels.h"

namespace graft::engine {
namespace {

// Pages take no memory before their first access.
void* map_zeros(size_t bytes, const char* what) {
  void* p = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) fail_allocation(bytes, what);
  ::madvise(p, bytes, MADV_HUGEPAGE);
  return p;
}

void copy_bytes(void* to, const void* from, size_t bytes) {
  if (bytes > 0) std::memcpy(to, from, bytes);
}

bool has_bf16() {
  cpu::init_isa();  // before the library decides
  return cpu::has_bf16_gemm();
}

bool bf16_is_faster() {
  cpu::init_isa();
  return cpu::bf16_is_faster();
}

}  // namespace

const Device& cpu_device() {
  static const Device device = {
      .name = "cpu",
      .description = cpu::isa_name,
      .is_host = true,
      .kernels = cpu_kernels,
      .plan_kernels = plan_kernels,
      .has_bf16 = has_bf16,
      .bf16_is_faster = bf16_is_faster,
      .alloc = map_zeros,
      .free = [](void* p, size_t bytes) { ::munmap(p, bytes); },
      .fill = [](float* p, int64_t n, float value) { std::fill_n(p, n, value); },
      .copy_in = copy_bytes,
      .copy_out = copy_bytes,
      .copy = copy_bytes,
      .sync = [] {},
  };
  return device;
}

}  // namespace graft::engine
