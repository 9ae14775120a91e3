#include "base/threads.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

namespace graft {
namespace {

TEST(Threads, EveryTaskRunsOnceForAnyNumberOfThreads) {
  for (const int threads : {1, 2, 3, 16}) {
    set_num_threads(threads);
    EXPECT_EQ(num_threads(), threads);
    std::vector<std::atomic<int>> hits(1000);
    parallel_for(1000, [&](int64_t i) { hits[static_cast<size_t>(i)]++; });
    for (const auto& h : hits) EXPECT_EQ(h.load(), 1);
    std::atomic<int64_t> covered = 0;
    parallel_blocks(1001, 64, [&](int64_t begin, int64_t end) { covered += end - begin; });
    EXPECT_EQ(covered.load(), 1001);
  }
  set_num_threads(0);
}

TEST(Threads, CallsInsideCallsRunOnTheirOwnThread) {
  set_num_threads(3);
  EXPECT_EQ(num_threads_here(), 1);
  std::atomic<int64_t> sum = 0;
  parallel_for(10, [&](int64_t i) {
    EXPECT_EQ(num_threads_here(), 3);
    const auto here = std::this_thread::get_id();
    parallel_for(10, [&](int64_t j) {
      EXPECT_EQ(std::this_thread::get_id(), here);
      sum += i * j;
    });
  });
  EXPECT_EQ(sum.load(), 45 * 45);
  EXPECT_EQ(num_threads_here(), 1);
  set_num_threads(0);
}

// Short calls in quick succession and after pauses in which the helpers fall asleep; several callers at once.
TEST(Threads, ManyCallersLoseNothing) {
  std::vector<std::thread> callers;
  std::atomic<int64_t> wrong = 0;
  for (int c = 0; c < 4; ++c)
    callers.emplace_back([&, c] {
      set_num_threads(2 + c);
      for (int64_t call = 0; call < 3000; ++call) {
        const int64_t n = 2 + call % 7;
        std::vector<int64_t> out(static_cast<size_t>(n),
                                 -1);  // written without atomics: for the thread sanitizer
        parallel_for(n, [&](int64_t i) { out[static_cast<size_t>(i)] = i + call; });
        for (int64_t i = 0; i < n; ++i) wrong += out[static_cast<size_t>(i)] != i + call;
        if (call % 500 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));
      }
    });
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(wrong.load(), 0);
}

}  // namespace
}  // namespace graft
