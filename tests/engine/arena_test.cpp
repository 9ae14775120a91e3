#include "engine/arena.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>

#include "base/memory.h"
#include "graft/error.h"
#include "support/sanitized.h"
#include "support/shared.h"

namespace graft::engine {
namespace {

TEST(Arena, PushesAlignedMemoryThatDoesNotOverlap) {
  Arena arena;
  auto* a = static_cast<std::byte*>(arena.push(1));
  auto* b = static_cast<std::byte*>(arena.push(100));
  auto* c = static_cast<std::byte*>(arena.push(0));
  auto* d = static_cast<std::byte*>(arena.push(64));
  for (auto* p : {a, b, c, d}) EXPECT_EQ(reinterpret_cast<uintptr_t>(p) % 64, 0u);
  EXPECT_EQ(b - a, 64);
  EXPECT_EQ(c - b, 128);
  EXPECT_EQ(d - c, 64);  // even an empty one has an address of its own
  EXPECT_EQ(arena.mark(), 320u);
}

// Without a size the first use reserves the addresses.
TEST(Arena, ItsFirstUseMayBeAResult) {
  Arena arena(ArenaSize{});
  std::memset(arena.push_result(64), 1, 64);
  EXPECT_EQ(arena.mark(), 64u);
}

TEST(Arena, MarkAndReleaseKeepAStack) {
  Arena arena;
  arena.push(64);
  const size_t mark = arena.mark();
  void* first = arena.push(1000);
  arena.release(mark);
  EXPECT_EQ(arena.push(500), first);
  EXPECT_EQ(arena.peak(), 64u + 1024u);
}

TEST(Arena, TakesFirstFitAndJoinsNeighbours) {
  Arena arena;
  void* a = arena.take(128);
  void* b = arena.take(128);
  void* c = arena.take(128);
  arena.give(a);
  EXPECT_EQ(arena.take(64), a);  // the first hole that fits
  void* d = arena.take(128);     // 64 bytes are left in that hole: too small
  EXPECT_EQ(static_cast<std::byte*>(d) - static_cast<std::byte*>(c), 128);
  arena.give(b);
  EXPECT_EQ(arena.take(192), static_cast<std::byte*>(a) + 64);  // the 64 left over and b, joined
  EXPECT_EQ(arena.peak(), 512u);
}

TEST(Arena, GivenBackInAnyOrderBecomesOneBlock) {
  Arena arena;
  void* p[4];
  for (auto& x : p) x = arena.take(64);
  for (const int i : {1, 3, 0, 2}) arena.give(p[i]);
  EXPECT_EQ(arena.take(256), p[0]);
  EXPECT_EQ(arena.peak(), 256u);
}

TEST(Arena, BlocksKeepTheirContents) {
  Arena arena;
  char* kept = static_cast<char*>(arena.take(1000));
  std::memset(kept, 1, 1000);
  void* other = arena.take(5000);
  std::memset(other, 2, 5000);
  arena.give(other);
  std::memset(arena.take(3000), 3, 3000);
  std::memset(arena.push(9000), 4, 9000);
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(kept[i], 1);
}

TEST(Arena, ResetForgetsButKeepsThePeak) {
  Arena arena;
  void* stack = arena.push(640);
  void* heap = arena.take(128);
  arena.reset();
  EXPECT_EQ(arena.peak(), 768u);
  EXPECT_EQ(arena.push(64), stack);
  EXPECT_EQ(arena.take(64), heap);
  arena.reset();
  arena.clear_peak();
  EXPECT_EQ(arena.peak(), 0u);
}

TEST(Arena, PopulateThenUse) {
  Arena arena;
  arena.push(3 << 20);
  arena.take(1 << 20);
  arena.reset();
  arena.populate(arena.peaks());
  EXPECT_EQ(arena.populated(), size_t{4} << 20);
  std::memset(arena.push(3 << 20), 1, 3 << 20);
  std::memset(arena.take(1 << 20), 1, 1 << 20);
}

TEST(Arena, RefusesWhatWasNotTakenAndWhatDoesNotFit) {
  Arena arena;
  void* p = arena.take(64);
  arena.give(p);
  EXPECT_THAT(graft::test::error_of([&] { arena.give(p); }), testing::HasSubstr("was not taken"));
  EXPECT_THAT(graft::test::error_of([&] { arena.give(static_cast<std::byte*>(p) + 8); }),
              testing::HasSubstr("was not taken"));
  EXPECT_THAT(graft::test::error_of([&] { arena.push(size_t{1} << 60); }),
              testing::HasSubstr("per_device_train_batch_size"));
  EXPECT_THAT(graft::test::error_of([&] { arena.take(size_t{1} << 60); }),
              testing::HasSubstr("more memory than was planned"));
}

TEST(Arena, ReservesWhatIsAskedForAndKeepsPagesWhenItGrows) {
  Arena arena(ArenaSize{1 << 20, 1 << 20});
  EXPECT_EQ(arena.reserved().total(), size_t{4} << 20);  // whole huge pages
  std::memset(arena.push(100), 7, 100);
  EXPECT_THAT(graft::test::error_of([&] { arena.push(3 << 20); }), testing::HasSubstr("planned"));
  arena.reserve({5 << 20, 3 << 20});
  EXPECT_EQ(arena.reserved().stack, size_t{6} << 20);
  EXPECT_EQ(static_cast<char*>(arena.push(3 << 20))[99], 7);
  std::memset(arena.take(4 << 20), 1, 4 << 20);
  arena.reserve({1, 1});  // never smaller
  EXPECT_EQ(arena.reserved().stack, size_t{6} << 20);
}

// A plan of a step of a thousand machines: nothing is mapped for it.
TEST(Arena, CountingNeedsNoMemory) {
  Arena arena{Arena::Counting()};
  EXPECT_NE(arena.push_result(size_t{30} << 40), nullptr);
  void* p = arena.take(size_t{20} << 40);
  arena.give(p);
  EXPECT_EQ(arena.take(64), p);
  auto* real = static_cast<char*>(arena.push(1000));
  std::memset(real, 1, 1000);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(real) % 64, 0u);
  EXPECT_EQ(arena.peaks().stack, (size_t{30} << 40) + 1024);
  EXPECT_EQ(arena.peaks().heap, size_t{20} << 40);
}

// Under ulimit -v an arena leaves addresses to others, and says what it could not get.
TEST(Arena, UnderALimitOnAddresses) {
  if (graft::test::kSanitized) return;
  const auto child = [] {
    struct rlimit limit {};
    limit.rlim_cur = limit.rlim_max = uint64_t{900000} * 1024;
    ::setrlimit(RLIMIT_AS, &limit);
    const Arena one, two;
    if (addresses_left() < limit.rlim_cur / 4) ::_exit(2);
    try {
      const Arena large(ArenaSize{size_t{2} << 30, 0});
    } catch (const Error& e) {
      ::_exit(std::string(e.what()).find("ulimit -v is 921.6 MB") != std::string::npos ? 0 : 3);
    }
    ::_exit(1);
  };
  // A process of its own: this one may have mapped more than the limit by now.
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(child(), testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace graft::engine
