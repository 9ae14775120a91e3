// A device over the CPU's kernels whose memory is closed to the host: any access outside of a kernel or a
// copy ends the process with SIGSEGV, and a kernel that is given memory of the host is recorded.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "engine/device.h"

namespace graft::test {

const engine::Device& foreign_device();

// Since the last reset_foreign_counts().
struct ForeignCounts {
  int64_t allocs = 0, bytes_alive = 0;
  int64_t kernels = 0, copies_in = 0, copies_out = 0, bytes_out = 0;
  std::vector<std::string> host_pointers;  // kernels that were given host memory
};
ForeignCounts foreign_counts();
void reset_foreign_counts();

// During its lifetime models are made on the foreign device.
class OnForeignDevice {
 public:
  OnForeignDevice();
  ~OnForeignDevice();
  OnForeignDevice(const OnForeignDevice&) = delete;
  OnForeignDevice& operator=(const OnForeignDevice&) = delete;
};

}  // namespace graft::test
