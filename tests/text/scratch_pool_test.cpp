// Scratch memory that threads borrow.
#include <gtest/gtest.h>

#include <atomic>
#include <set>
#include <thread>

#include "base/threads.h"
#include "text/fast_path.h"

namespace graft::text {
namespace {

Scratch* borrow(ScratchPool& pool) {
  ScratchPool::Lease lease(pool);
  return &*lease;
}

TEST(ScratchPool, GivesAThreadItsOwnAgain) {
  set_num_threads(2);
  ScratchPool pool;
  Scratch* mine = borrow(pool);
  Scratch* others = nullptr;
  {
    ScratchPool::Lease lease(pool);
    std::thread([&] { others = borrow(pool); }).join();
    EXPECT_EQ(&*lease, mine);
    EXPECT_NE(others, mine);
  }
  EXPECT_EQ(borrow(pool), mine);
  set_num_threads(0);
}

TEST(ScratchPool, ThreadsThatComeAndGoLeaveNoMoreThanThereAreCores) {
  ScratchPool pool;
  std::set<Scratch*> seen;
  const int cores = [] {
    int n = 0;
    std::thread([&] { n = num_threads(); }).join();
    return n;
  }();
  for (int i = 0; i < 200; ++i) std::thread([&] { seen.insert(borrow(pool)); }).join();
  EXPECT_LE(seen.size(), static_cast<size_t>(cores));
}

TEST(ScratchPool, NeverLendsOneTwice) {
  ScratchPool pool;
  std::vector<std::thread> threads;
  std::atomic<int> shared{0};
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 2000; ++i) {
        ScratchPool::Lease lease(pool);
        lease->word = std::to_string(t);
        if (i % 64 == 0) std::this_thread::yield();
        if (lease->word != std::to_string(t)) ++shared;
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(shared, 0);
}

}  // namespace
}  // namespace graft::text
