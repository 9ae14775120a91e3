// Two threads against one, beside what the machine gives two separate processes at the time.
#pragma once
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <new>
#include <vector>

#include "base/error.h"
#include "base/threads.h"
#include "report.h"

namespace graft::bench {

struct TwoThreads {
  double threads = 0;    // how many times faster two threads are than one
  double processes = 0;  // the same of two processes that share nothing
};

// Does one part of the work and returns its seconds.
using Part = std::function<double(size_t part)>;

inline constexpr int kRounds = 9;

// Two children that each do every second part on one thread when told to.
class TwoProcesses {
 public:
  TwoProcesses(size_t parts, const Part& part) : parts_(parts) {
    bytes_ = sizeof(Shared) + parts * kRounds * sizeof(double);
    void* memory = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) fail("no shared memory for the bench's children");
    shared_ = new (memory) Shared;
    times_ = reinterpret_cast<double*>(shared_ + 1);
    for (size_t half = 0; half < 2; ++half) {
      const pid_t pid = fork();
      if (pid < 0) fail("the bench cannot start its children");
      if (pid == 0) serve(half, part);
      children_.push_back(pid);
    }
  }
  ~TwoProcesses() {
    shared_->round = -1;
    for (const pid_t pid : children_) waitpid(pid, nullptr, 0);
    munmap(shared_, bytes_);
  }
  TwoProcesses(const TwoProcesses&) = delete;
  TwoProcesses& operator=(const TwoProcesses&) = delete;

  void run() {
    ++shared_->round;
    while (shared_->done < 2 * shared_->round) {
      usleep(100);
      for (const pid_t pid : children_)
        if (waitpid(pid, nullptr, WNOHANG) != 0) fail("a child of the bench has ended");
    }
  }
  // Of the half that took longer.
  double seconds() const {
    double sums[2] = {0, 0};
    for (size_t i = 0; i < parts_; ++i)
      sums[i % 2] += median({times_ + i * kRounds, times_ + (i + 1) * kRounds});
    return std::max(sums[0], sums[1]);
  }

 private:
  struct Shared {
    std::atomic<int> round{0}, done{0};  // round -1: the end
  };

  [[noreturn]] void serve(size_t half, const Part& part) {
    set_num_threads(1);
    for (int round = 1;; ++round) {
      while (shared_->round >= 0 && shared_->round < round) usleep(100);
      if (shared_->round < 0) _exit(0);
      for (size_t i = half; i < parts_; i += 2) times_[i * kRounds + round - 1] = part(i);
      ++shared_->done;
    }
  }

  size_t parts_, bytes_ = 0;
  Shared* shared_ = nullptr;
  double* times_ = nullptr;  // kRounds of each part
  std::vector<pid_t> children_;
};

// Nine rounds take all three in turn, so that strangers on the machine meet all three; each part counts with
// its median.
inline TwoThreads compare_two_threads(size_t parts, const Part& part) {
  TwoProcesses processes(parts, part);
  std::vector<std::vector<double>> one(parts), two(parts);  // a time a round
  for (int round = 0; round < kRounds; ++round) {
    set_num_threads(1);
    for (size_t i = 0; i < parts; ++i) one[i].push_back(part(i));
    set_num_threads(2);
    for (size_t i = 0; i < parts; ++i) two[i].push_back(part(i));
    processes.run();
  }
  set_num_threads(0);
  const auto sum_of_medians = [](const std::vector<std::vector<double>>& times) {
    double sum = 0;
    for (const std::vector<double>& t : times) sum += median(t);
    return sum;
  };
  const double alone = sum_of_medians(one);
  return {alone / sum_of_medians(two), alone / processes.seconds()};
}

}  // namespace graft::bench
