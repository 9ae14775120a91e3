#include "base/thread_pool.h"

#include <immintrin.h>
#include <pthread.h>

#include <thread>
#include <utility>

namespace graft {
namespace {

// Some tens of microseconds: longer than the time between two calls of a training step, much shorter than a
// time slice of another process.
constexpr int kSpins = 4000;

thread_local int here = 1;

template <class Done>
bool spin_until(Done done) {
  for (int i = 0; i < kSpins; ++i) {
    if (done()) return true;
    _mm_pause();
  }
  return done();
}

}  // namespace

ThreadPool& ThreadPool::shared() {
  static std::atomic<ThreadPool*> pool{nullptr};
  static const bool made = [] {
    pool = new ThreadPool();
    // A child process has none of the threads, but a copy of the lock and the waiters.
    ::pthread_atfork(nullptr, nullptr, [] { pool = new ThreadPool(); });
    return true;
  }();
  static_cast<void>(made);
  return *pool.load(std::memory_order_relaxed);
}

int ThreadPool::threads_here() { return here; }

bool ThreadPool::run(int64_t n, int threads, void (*task)(void*, int64_t), void* state) {
  if (busy_.exchange(true, std::memory_order_acquire)) return false;
  grow(threads - 1);
  n_ = n;
  threads_ = threads;
  task_ = task;
  state_ = state;
  float_control_ = _mm_getcsr();
  next_.store(0, std::memory_order_relaxed);
  const uint64_t call = phase_.load(std::memory_order_relaxed) / kCall + 1;
  phase_.store(call * kCall + static_cast<uint64_t>(threads - 1) * kSeat);
  if (sleepers_.load() > 0) {
    // a thread that is about to sleep either sees the call or is notified
    { const std::lock_guard lock(mutex_); }
    called_.notify_all();
  }
  take_tasks();
  phase_.fetch_or(kClosed);
  wait_until_empty();
  const std::exception_ptr thrown = std::exchange(thrown_, nullptr);
  busy_.store(false, std::memory_order_release);
  if (thrown) std::rethrow_exception(thrown);
  return true;
}

// Does not throw: the caller must wait for the helpers before it leaves its frame.
void ThreadPool::take_tasks() noexcept {
  here = threads_;
  _mm_setcsr(float_control_);
  try {
    for (int64_t i; (i = next_.fetch_add(1, std::memory_order_relaxed)) < n_;) task_(state_, i);
  } catch (...) {
    next_.store(n_, std::memory_order_relaxed);  // no further task is taken
    const std::lock_guard lock(mutex_);
    if (!thrown_) thrown_ = std::current_exception();
  }
  here = 1;
}

void ThreadPool::wait_until_empty() {
  const auto is_empty = [&] { return (phase_.load() & kInside) == 0; };
  if (spin_until(is_empty)) return;
  std::unique_lock lock(mutex_);
  caller_sleeps_.store(true);
  emptied_.wait(lock, is_empty);
  caller_sleeps_.store(false);
}

void ThreadPool::grow(int helpers) {
  try {
    for (; helpers_ < helpers; ++helpers_) std::thread([this] { help(); }).detach();
  } catch (const std::exception&) {  // no thread or memory left: the existing threads do the work
  }
}

void ThreadPool::help() {
  uint64_t last = 0;
  for (;;) {
    const auto is_called = [&] { return phase_.load(std::memory_order_acquire) / kCall != last; };
    if (!spin_until(is_called)) sleep_until_call_after(last);
    uint64_t phase = phase_.load();
    last = phase / kCall;
    bool inside = false;
    while (!inside && !(phase & kClosed) && phase / kCall == last &&
           (phase & kInside) < (phase / kSeat & kInside))
      inside = phase_.compare_exchange_weak(phase, phase + kOne);
    if (!inside) continue;
    take_tasks();
    phase_.fetch_sub(kOne);
    if (caller_sleeps_.load()) {
      { const std::lock_guard lock(mutex_); }
      emptied_.notify_one();
    }
  }
}

void ThreadPool::sleep_until_call_after(uint64_t call) {
  std::unique_lock lock(mutex_);
  sleepers_.fetch_add(1);
  called_.wait(lock, [&] { return phase_.load() / kCall != call; });
  sleepers_.fetch_sub(1);
}

}  // namespace graft
