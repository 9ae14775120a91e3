#include "base/threads.h"

#include <fmt/core.h>
#include <omp.h>
#include <sched.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <set>

#include "base/cgroup.h"
#include "base/thread_pool.h"

namespace graft {
namespace {
thread_local int chosen = 0;

struct Default {
  int threads;
  std::string reason;
};

// Physical cores among the CPUs of the affinity mask; 0 if the kernel does not report it.
int physical_cores() {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  if (::sched_getaffinity(0, sizeof mask, &mask) != 0) return 0;
  std::set<std::string> cores;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &mask)) continue;
    std::ifstream in(fmt::format("/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list", cpu));
    std::string siblings;
    if (!std::getline(in, siblings)) return 0;
    cores.insert(siblings);
  }
  return static_cast<int>(cores.size());
}

Default find_default() {
  const int allowed = omp_get_max_threads();  // the variable, or the affinity mask
  const char* variable = std::getenv("OMP_NUM_THREADS");
  if (variable && *variable) return {allowed, "OMP_NUM_THREADS"};
  if (const double quota = cgroup_cpus(); quota > 0 && std::ceil(quota) < allowed)
    return {static_cast<int>(std::ceil(quota)),
            fmt::format("the control group's quota of {} of {} CPUs", quota, allowed)};
  const int cores = physical_cores();
  if (cores > 0 && cores < allowed)
    return {allowed, fmt::format("one per CPU: hyper-threads of {} core{}", cores, cores == 1 ? "" : "s")};
  return {allowed, cores == allowed ? "one per core" : "one per CPU"};
}

const Default& default_threads() {
  static const Default found = find_default();
  return found;
}
}  // namespace

int num_threads() { return chosen > 0 ? chosen : default_threads().threads; }

std::string num_threads_reason() { return chosen > 0 ? "as asked for" : default_threads().reason; }

void set_num_threads(int n) { chosen = n > 0 ? n : 0; }

int num_threads_here() { return ThreadPool::threads_here(); }

SingleThread::SingleThread() : before_(omp_get_max_threads()) {
  default_threads();
  if (before_ != 1) omp_set_num_threads(1);
}

SingleThread::~SingleThread() {
  if (before_ != 1) omp_set_num_threads(before_);
}

void detail::parallel_for(int64_t n, void (*task)(void*, int64_t), void* state) {
  const int threads = static_cast<int>(n < num_threads() ? n : num_threads());
  if (threads > 1 && ThreadPool::threads_here() == 1 && ThreadPool::shared().run(n, threads, task, state))
    return;
  for (int64_t i = 0; i < n; ++i) task(state, i);
}

}  // namespace graft
