// A pool of helper threads. OpenMP is not used, because its threads spin at a barrier until all threads of
// the team arrive, which is very slow beside another busy process. Here the caller waits only for helpers
// with a task. A waiting thread spins for some microseconds, then sleeps.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>

namespace graft {

class ThreadPool {
 public:
  // One pool per process (a forked child has its own). It is never destroyed: its threads sleep at exit.
  static ThreadPool& shared();

  // Calls task(state, i) for i in [0, n) on this thread and at most threads - 1 helpers, and returns when all
  // are done. Returns false without a call if another thread uses the helpers. After the first exception of a
  // task, the remaining tasks are skipped, and it is rethrown when all helpers have left the call.
  bool run(int64_t n, int threads, void (*task)(void*, int64_t), void* state);

  // Number of threads of the current call; 1 outside of a call.
  static int threads_here();

 private:
  // phase_: helpers inside (16 bits), seats (16 bits), closed (1 bit), number of the call (the rest). A
  // helper enters by incrementing the count while the call is open, so that the fields below are valid for
  // all helpers inside.
  static constexpr uint64_t kOne = 1, kInside = 0xFFFF, kSeat = uint64_t{1} << 16,
                            kClosed = uint64_t{1} << 32, kCall = uint64_t{1} << 33;

  void grow(int helpers);
  void help();
  void sleep_until_call_after(uint64_t call);
  void wait_until_empty();
  void take_tasks() noexcept;

  std::atomic<bool> busy_{false};
  std::atomic<uint64_t> phase_{kClosed};
  std::atomic<int64_t> next_{0};
  int64_t n_ = 0;
  int threads_ = 0;
  void (*task_)(void*, int64_t) = nullptr;
  void* state_ = nullptr;
  unsigned float_control_ = 0;  // the caller's MXCSR: a task's bits do not depend on the thread that runs it
  std::exception_ptr thrown_;   // guarded by mutex_ while helpers are inside

  int helpers_ = 0;
  std::atomic<int> sleepers_{0};
  std::atomic<bool> caller_sleeps_{false};
  std::mutex mutex_;
  std::condition_variable called_, emptied_;
};

}  // namespace graft
