#include "hub/file_lock.h"

#include <chrono>
#include <thread>

#include "support/shared.h"

namespace graft::hub {
namespace {

TEST(FileLock, OneHolderAtATime) {
  const test::TempDir folder;
  const std::atomic<bool> never{false};
  std::atomic<int> inside{0}, most{0};  // atomic for the thread sanitizer, which does not know flock
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      const FileLock lock(folder / "locks/l", never);
      most = std::max(most.load(), ++inside);
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      --inside;
    });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(most.load(), 1);
}

TEST(FileLock, AWaiterCanBeStopped) {
  const test::TempDir folder;
  std::atomic<bool> stop{false};
  const FileLock held(folder / "l", stop);
  std::thread later([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    stop = true;
  });
  EXPECT_THAT(test::error_of([&] { FileLock(folder / "l", stop); }), ::testing::HasSubstr("cannot lock"));
  later.join();
}

}  // namespace
}  // namespace graft::hub
