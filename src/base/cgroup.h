// The limits of this process's control groups (cgroup v1 and v2), which containers and batch systems set.
#pragma once
#include <cstdint>
#include <filesystem>
#include <vector>

namespace graft {

// The kernel's files; tests use other paths.
struct CgroupFiles {
  std::filesystem::path membership = "/proc/self/cgroup", mount = "/sys/fs/cgroup";
};

struct CgroupMemory {
  uint64_t limit = 0;  // bytes
  uint64_t used = 0;   // used bytes, without the page cache that the kernel frees on demand
};

// The process's own group and its ancestors that have a limit.
std::vector<CgroupMemory> cgroup_memory(const CgroupFiles& files = {});

// Number of CPUs in the CPU quota (cpu.max, cpu.cfs_quota_us): the smallest of the group and its ancestors; 0
// = no quota.
double cgroup_cpus(const CgroupFiles& files = {});

}  // namespace graft
