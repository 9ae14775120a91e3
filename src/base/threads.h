// Parallel loops whose results do not depend on the number of threads. The caller splits the work into tasks
// by shape only, and the threads run the tasks.
#pragma once
#include <cstdint>
#include <string>
#include <type_traits>

#include "graft/threads.h"

namespace graft {

// The reason for this number, for the log: "OMP_NUM_THREADS", "one per CPU: hyper-threads of 1 core".
std::string num_threads_reason();
// Number of threads of the parallel_for that the caller runs in: 1 outside of parallel_for.
int num_threads_here();

namespace detail {
void parallel_for(int64_t n, void (*task)(void*, int64_t), void* state);
}

// Calls f(i) once for each i in [0, n), in any order and on any thread. An exception of f is rethrown here
// after the running tasks; the remaining tasks are skipped. Runs on the calling thread only with one thread
// or one task, inside f, and while another thread's call uses the helpers.
template <class F>
void parallel_for(int64_t n, F&& f) {
  detail::parallel_for(
      n, [](void* state, int64_t i) { (*static_cast<std::remove_reference_t<F>*>(state))(i); },
      const_cast<void*>(static_cast<const void*>(&f)));
}

// During its lifetime, libraries with OpenMP (oneDNN) use a single thread when called from this thread.
class SingleThread {
 public:
  SingleThread();
  ~SingleThread();
  SingleThread(const SingleThread&) = delete;
  SingleThread& operator=(const SingleThread&) = delete;

 private:
  int before_;
};

// As parallel_for over blocks of `grain` consecutive items: f(begin, end).
template <class F>
void parallel_blocks(int64_t n, int64_t grain, F&& f) {
  parallel_for((n + grain - 1) / grain, [&](int64_t b) {
    const int64_t begin = b * grain;
    f(begin, begin + grain < n ? begin + grain : n);
  });
}

}  // namespace graft
