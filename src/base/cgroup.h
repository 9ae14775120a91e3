// The limits of the control groups (cgroup v1 and v2) that this process runs in: containers and batch systems
// set them.
#pragma once
#include <cstdint>
#include <filesystem>
#include <vector>

namespace graft {

// Where the kernel shows them; tests point elsewhere.
struct CgroupFiles {
  std::filesystem::path membership = "/proc/self/cgroup", mount = "/sys/fs/cgroup";
};

struct CgroupMemory {
  uint64_t limit = 0;  // bytes
  uint64_t used = 0;   // of it, without the page cache that the kernel drops when memory is needed
};

// The process's own group and its ancestors, those that have a limit.
std::vector<CgroupMemory> cgroup_memory(const CgroupFiles& files = {});

// CPUs that the process may use at a time (cpu.max, cpu.cfs_quota_us), the smallest on the way to the root; 0
// = no quota.
double cgroup_cpus(const CgroupFiles& files = {});

}  // namespace graft
