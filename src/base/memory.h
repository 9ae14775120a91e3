// The memory limits of this process: the machine's memory, ulimit and control groups.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/cgroup.h"

namespace graft {

// The machine's memory in bytes.
uint64_t physical_memory();
// Resident memory of this process in bytes, and its peak.
uint64_t resident_memory();
uint64_t peak_resident_memory();

// A limit and its used part, in bytes.
struct MemoryLimit {
  std::string name;  // for messages: "this machine's memory", "ulimit -v", "the control group's limit"
  uint64_t limit = 0, used = 0;
  bool addresses = false;  // the limit counts reserved addresses too (ulimit -v)
  uint64_t left() const { return limit > used ? limit - used : 0; }
};

// All current limits, the tightest first.
std::vector<MemoryLimit> memory_limits(const CgroupFiles& files = {});
// The tightest limit.
MemoryLimit tightest_memory_limit();
// Bytes of addresses that may still be reserved (ulimit -v).
uint64_t addresses_left();

// Throws the Error of a failed allocation, with its size, its purpose and the tightest limit.
[[noreturn]] void fail_allocation(uint64_t bytes, const char* what);

// "1.5 GB", "12.0 MB".
std::string format_bytes(uint64_t bytes);

}  // namespace graft
