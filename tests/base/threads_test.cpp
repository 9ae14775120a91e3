#include "base/threads.h"

#include <gtest/gtest.h>

#include <atomic>

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

}  // namespace
}  // namespace graft
