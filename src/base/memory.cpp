#include "base/memory.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <limits>

#include "base/error.h"

namespace graft {
namespace {

// The number of kB behind `key:` in a file like /proc/self/status; 0 where it is absent.
uint64_t kilobytes_of(const char* file, const std::string& key) {
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    if (line.rfind(key + ":", 0) == 0)
      return std::strtoull(line.c_str() + key.size() + 1, nullptr, 10) * 1024;
  }
  return 0;
}

void append_rlimit(std::vector<MemoryLimit>& out, int resource, const char* name, const char* used,
                   bool addresses) {
  struct rlimit limit {};
  if (::getrlimit(resource, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return;
  out.push_back({name, limit.rlim_cur, kilobytes_of("/proc/self/status", used), addresses});
}

}  // namespace

uint64_t physical_memory() {
  return static_cast<uint64_t>(::sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
}

uint64_t resident_memory() { return kilobytes_of("/proc/self/status", "VmRSS"); }

uint64_t peak_resident_memory() {
  struct rusage usage {};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<uint64_t>(usage.ru_maxrss) * 1024;
}

std::vector<MemoryLimit> memory_limits(const CgroupFiles& files) {
  std::vector<MemoryLimit> out;
  MemoryLimit machine{"this machine's memory", physical_memory(), resident_memory()};
  // The memory of other processes is not available either.
  const uint64_t available =
      kilobytes_of("/proc/meminfo", "MemAvailable") + kilobytes_of("/proc/meminfo", "SwapFree");
  if (available > 0 && available < machine.left()) machine.used = machine.limit - available;
  out.push_back(machine);
  append_rlimit(out, RLIMIT_AS, "ulimit -v", "VmSize", true);
  append_rlimit(out, RLIMIT_DATA, "ulimit -d", "VmData", true);
  for (const CgroupMemory& group : cgroup_memory(files))
    out.push_back({"the control group's memory limit", group.limit, group.used});
  std::stable_sort(out.begin(), out.end(),
                   [](const MemoryLimit& a, const MemoryLimit& b) { return a.left() < b.left(); });
  return out;
}

MemoryLimit tightest_memory_limit() { return memory_limits().front(); }

uint64_t addresses_left() {
  uint64_t left = std::numeric_limits<uint64_t>::max();
  for (const MemoryLimit& limit : memory_limits()) {
    if (limit.addresses) left = std::min(left, limit.left());
  }
  return left;
}

void fail_allocation(uint64_t bytes, const char* what) {
  const MemoryLimit limit = tightest_memory_limit();
  fail_with("use a smaller batch or model, shorter texts, or give the process more memory",
            "out of memory: cannot allocate {} for {}; {} is {}, {} of it in use",
            bytes > 0 ? format_bytes(bytes) + " more" : "more", what, limit.name, format_bytes(limit.limit),
            format_bytes(limit.used));
}

std::string format_bytes(uint64_t bytes) {
  const double b = static_cast<double>(bytes);
  if (b >= 1e9) return fmt::format("{:.2f} GB", b / 1e9);
  if (b >= 1e6) return fmt::format("{:.1f} MB", b / 1e6);
  return fmt::format("{:.1f} kB", b / 1e3);
}

}  // namespace graft
