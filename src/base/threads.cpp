#include "base/threads.h"

#include <omp.h>

#include "base/thread_pool.h"

namespace graft {
namespace {
thread_local int chosen = 0;

int default_threads() {
  static const int n = omp_get_max_threads();
  return n;
}
}  // namespace

int num_threads() { return chosen > 0 ? chosen : default_threads(); }

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
