// Two threads against one, beside what the machine gives two separate processes at that moment.
#pragma once
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <new>
#include <vector>

#include "base/error.h"
#include "base/threads.h"

namespace graft::bench {

struct TwoThreads {
  double threads = 0;    // how many times faster two threads are than one
  double processes = 0;  // the same of two processes that share nothing
};

// Two children that each do their half on one thread when told to.
class TwoProcesses {
 public:
  explicit TwoProcesses(const std::function<void(int half)>& work) {
    void* shared = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) fail("no shared memory for the bench's children");
    shared_ = new (shared) Shared;
    for (int half = 0; half < 2; ++half) {
      const pid_t pid = fork();
      if (pid < 0) fail("the bench cannot start its children");
      if (pid == 0) serve(half, work);
      children_.push_back(pid);
    }
    seconds();  // they have seen their data once
  }
  ~TwoProcesses() {
    shared_->round = -1;
    for (const pid_t pid : children_) waitpid(pid, nullptr, 0);
    munmap(shared_, sizeof(Shared));
  }
  TwoProcesses(const TwoProcesses&) = delete;
  TwoProcesses& operator=(const TwoProcesses&) = delete;

  // From the word to start until both are done.
  double seconds() {
    const auto start = std::chrono::steady_clock::now();
    ++shared_->round;
    while (shared_->done < 2 * shared_->round) {
      usleep(100);
      for (const pid_t pid : children_)
        if (waitpid(pid, nullptr, WNOHANG) != 0) fail("a child of the bench has ended");
    }
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }

 private:
  struct Shared {
    std::atomic<int> round{0}, done{0};  // round -1: the end
  };

  [[noreturn]] void serve(int half, const std::function<void(int)>& work) {
    set_num_threads(1);
    for (int round = 1;; ++round) {
      while (shared_->round >= 0 && shared_->round < round) usleep(100);
      if (shared_->round < 0) _exit(0);
      work(half);
      ++shared_->done;
    }
  }

  Shared* shared_ = nullptr;
  std::vector<pid_t> children_;
};

inline double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2),
                   values.end());
  return values[values.size() / 2];
}

// `work(first, step)` does every step-th part from `first` on. Nine rounds take all three in turn, so that
// strangers on the machine meet all three; medians of the rounds' ratios.
inline TwoThreads compare_two_threads(const std::function<void(int first, int step)>& work) {
  TwoProcesses processes([&](int half) { work(half, 2); });
  const auto seconds = [&](int threads) {
    set_num_threads(threads);
    const auto start = std::chrono::steady_clock::now();
    work(0, 1);
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  seconds(2);
  std::vector<double> threads, apart;
  for (int round = 0; round < 9; ++round) {
    const double one = seconds(1), two = seconds(2);
    threads.push_back(one / two);
    apart.push_back(one / processes.seconds());
  }
  set_num_threads(0);
  return {median(threads), median(apart)};
}

}  // namespace graft::bench
