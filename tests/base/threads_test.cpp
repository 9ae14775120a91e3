#include "base/threads.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <limits>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "base/denormals.h"
#include "base/memory.h"
#include "support/sanitized.h"

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

// Sum of [0, n) with two threads: the pool still works.
void expect_pool_works() {
  for (int call = 0; call < 20; ++call) {
    std::vector<std::atomic<int>> hits(100);
    std::atomic<int> helped = 0;
    parallel_for(100, [&](int64_t i) {
      hits[static_cast<size_t>(i)]++;
      helped += num_threads_here() > 1;
    });
    for (const auto& h : hits) EXPECT_EQ(h.load(), 1);
    EXPECT_EQ(helped.load(), 100) << "the helpers are not asked any more";
  }
}

TEST(Threads, WhatTheCallersTaskThrowsIsThrownByTheCall) {
  set_num_threads(3);
  const auto caller = std::this_thread::get_id();
  for (int round = 0; round < 50; ++round) {
    std::atomic<bool> thrown = false;
    EXPECT_THROW(parallel_for(1000,
                              [&](int64_t) {
                                if (std::this_thread::get_id() == caller)
                                  thrown = true, throw std::bad_alloc();
                                while (!thrown) std::this_thread::yield();
                              }),
                 std::bad_alloc);
    EXPECT_EQ(num_threads_here(), 1);
  }
  expect_pool_works();
  set_num_threads(0);
}

TEST(Threads, WhatAHelpersTaskThrowsIsThrownByTheCall) {
  set_num_threads(3);
  const auto caller = std::this_thread::get_id();
  for (int round = 0; round < 50; ++round) {
    std::atomic<bool> thrown = false;
    std::atomic<int> calls = 0;
    std::string got;
    try {
      parallel_for(100000, [&](int64_t i) {
        ++calls;
        if (std::this_thread::get_id() != caller)
          thrown = true, throw std::runtime_error("task " + std::to_string(i));
        while (!thrown) std::this_thread::yield();
      });
    } catch (const std::runtime_error& e) {
      got = e.what();
    }
    EXPECT_EQ(got.substr(0, 5), "task ");
    EXPECT_LT(calls.load(), 100000) << "work goes on after a task threw";
  }
  expect_pool_works();
  set_num_threads(0);
}

// All tasks throw on all threads, from several callers at once and from calls inside calls.
TEST(Threads, ManyThrowAtOnce) {
  std::vector<std::thread> callers;
  std::atomic<int> caught = 0;
  for (int c = 0; c < 4; ++c) {
    callers.emplace_back([&] {
      set_num_threads(4);
      for (int round = 0; round < 300; ++round) {
        std::vector<int64_t> frame(64, round);  // of this call: helpers must not touch it afterwards
        try {
          parallel_for(64, [&](int64_t i) {
            parallel_for(4, [&](int64_t j) {
              frame[static_cast<size_t>(i)] += j;
              if (j == 3) throw frame[static_cast<size_t>(i)];
            });
          });
        } catch (const int64_t value) {
          caught += value == round + 6;
        }
      }
    });
  }
  for (std::thread& t : callers) t.join();
  EXPECT_EQ(caught.load(), 4 * 300);
  set_num_threads(3);
  expect_pool_works();
  set_num_threads(0);
}

TEST(Threads, AForkedChildGetsHelpersOfItsOwn) {
  if (graft::test::kSanitized) return;
  set_num_threads(3);
  expect_pool_works();
  const auto child = [] {
    expect_pool_works();
    ::_exit(testing::Test::HasFailure() ? 1 : 0);
  };
  EXPECT_EXIT(child(), testing::ExitedWithCode(0), "");
  set_num_threads(0);
}

// A system that gives no more threads: the tasks run on those that are there.
TEST(Threads, WithoutMemoryForThreadsTheCallerDoesTheWork) {
  if (graft::test::kSanitized) return;
  const auto child = [] {
    struct rlimit limit {};
    limit.rlim_cur = limit.rlim_max = uint64_t{1} << 20;  // less than is in use: nothing more is given
    if (::setrlimit(RLIMIT_AS, &limit) != 0) ::_exit(2);
    set_num_threads(200);
    std::atomic<int64_t> sum = 0;
    parallel_for(1000, [&](int64_t i) { sum += i; });
    ::_exit(sum == 499500 ? 0 : 1);
  };
  EXPECT_EXIT(child(), testing::ExitedWithCode(0), "");
}

TEST(Denormals, AreFlushedOnAllThreadsWhileAskedForAndNotAfterwards) {
  set_num_threads(3);
  volatile float small = std::numeric_limits<float>::min();
  const auto halves_to_zero = [&] { return small * 0.5f == 0; };
  const auto count = [&] {
    std::atomic<int> zeros = 0;
    parallel_for(500, [&](int64_t) { zeros += halves_to_zero() ? 1 : 0; });
    return zeros.load();
  };
  EXPECT_EQ(count(), 0);
  {
    const FlushDenormals flush;
    EXPECT_TRUE(halves_to_zero());
    EXPECT_EQ(count(), 500);
    { const FlushDenormals again; }
    EXPECT_EQ(count(), 500);
  }
  EXPECT_FALSE(halves_to_zero());
  EXPECT_EQ(count(), 0);
  set_num_threads(0);
}

TEST(Threads, SayWhyThereAreThatMany) {
  EXPECT_FALSE(num_threads_reason().empty());
  set_num_threads(2);
  EXPECT_EQ(num_threads_reason(), "as asked for");
  set_num_threads(0);
}

}  // namespace
}  // namespace graft
