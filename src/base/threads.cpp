#include "base/threads.h"

#include <omp.h>

namespace graft {
namespace {
thread_local int chosen = 0;
}

int num_threads() { return chosen > 0 ? chosen : omp_get_max_threads(); }

void set_num_threads(int n) { chosen = n > 0 ? n : 0; }

void detail::parallel_for(int64_t n, void (*task)(void*, int64_t), void* state) {
  const int threads = static_cast<int>(n < num_threads() ? n : num_threads());
  if (threads <= 1 || omp_in_parallel()) {
    for (int64_t i = 0; i < n; ++i) task(state, i);
    return;
  }
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
  for (int64_t i = 0; i < n; ++i) task(state, i);
}

}  // namespace graft
