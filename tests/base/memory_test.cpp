#include "base/memory.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmath>
#include <vector>

#include "support/sanitized.h"
#include "support/shared.h"

namespace graft {
namespace {

using test::TempDir;

// A tree as the kernel shows it: the files of /proc/self/cgroup and of the mount.
CgroupFiles tree(const TempDir& dir, const std::string& membership) {
  return {dir.write("cgroup", membership), dir.path() / "mount"};
}

TEST(Cgroup, Version2TakesTheSmallestOfTheGroupAndItsAncestors) {
  const TempDir dir;
  const CgroupFiles files = tree(dir, "0::/outer/inner\n");
  dir.write("mount/outer/inner/memory.max", "max\n");
  dir.write("mount/outer/memory.max", "3000000\n");
  dir.write("mount/outer/memory.current", "2000000\n");
  dir.write("mount/outer/memory.stat",
            "anon 900000\nfile 1100000\ninactive_file 700000\nactive_file 300000\n");
  dir.write("mount/outer/inner/cpu.max", "150000 100000\n");
  dir.write("mount/outer/cpu.max", "max 100000\n");
  const std::vector<CgroupMemory> memory = cgroup_memory(files);
  ASSERT_EQ(memory.size(), 1u);
  EXPECT_EQ(memory[0].limit, 3000000u);
  EXPECT_EQ(memory[0].used, 1000000u);  // without what the kernel drops
  EXPECT_EQ(cgroup_cpus(files), 1.5);
}

// A container sees its own group as the root of the mount, whatever the host calls it.
TEST(Cgroup, Version2InAContainer) {
  const TempDir dir;
  const CgroupFiles files = tree(dir, "0::/../../docker/0123\n");
  dir.write("mount/memory.max", "1048576\n");
  dir.write("mount/memory.current", "4096\n");
  dir.write("mount/cpu.max", "50000 100000\n");
  ASSERT_EQ(cgroup_memory(files).size(), 1u);
  EXPECT_EQ(cgroup_memory(files)[0].limit, 1048576u);
  EXPECT_EQ(cgroup_cpus(files), 0.5);
}

TEST(Cgroup, Version1) {
  const TempDir dir;
  const CgroupFiles files = tree(dir, "5:cpu,cpuacct:/job\n4:memory:/job\n1:name=systemd:/\n");
  dir.write("mount/memory/job/memory.limit_in_bytes", "8000000\n");
  dir.write("mount/memory/job/memory.usage_in_bytes", "5000000\n");
  dir.write("mount/memory/job/memory.stat",
            "cache 5\ntotal_inactive_file 1000000\ntotal_active_file 500000\n");
  dir.write("mount/memory/memory.limit_in_bytes", "9223372036854771712\n");  // none
  dir.write("mount/cpu,cpuacct/job/cpu.cfs_quota_us", "250000\n");
  dir.write("mount/cpu,cpuacct/job/cpu.cfs_period_us", "100000\n");
  dir.write("mount/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
  ASSERT_EQ(cgroup_memory(files).size(), 1u);
  EXPECT_EQ(cgroup_memory(files)[0].limit, 8000000u);
  EXPECT_EQ(cgroup_memory(files)[0].used, 3500000u);
  EXPECT_EQ(cgroup_cpus(files), 2.5);
}

TEST(Cgroup, NoneIsNoLimit) {
  const TempDir dir;
  const CgroupFiles files = {dir.path() / "absent", dir.path() / "absent too"};
  EXPECT_TRUE(cgroup_memory(files).empty());
  EXPECT_EQ(cgroup_cpus(files), 0);
}

TEST(Memory, TheTightestLimitComesFirst) {
  const TempDir dir;
  const CgroupFiles files = tree(dir, "0::/\n");
  dir.write("mount/memory.max", "1000000\n");
  dir.write("mount/memory.current", "600000\n");
  const std::vector<MemoryLimit> limits = memory_limits(files);
  EXPECT_EQ(limits.front().left(), 400000u);
  EXPECT_NE(limits.front().name.find("control group"), std::string::npos);
  EXPECT_GT(limits.back().left(), 400000u);
}

TEST(Memory, UlimitCountsAddresses) {
  if (graft::test::kSanitized) return;
  const auto child = [] {
    struct rlimit limit {};
    limit.rlim_cur = limit.rlim_max = uint64_t{900000} * 1024;
    ::setrlimit(RLIMIT_AS, &limit);
    bool found = false;
    for (const MemoryLimit& l : memory_limits()) found |= l.name == "ulimit -v" && l.addresses && l.used > 0;
    ::_exit(found && addresses_left() < limit.rlim_cur ? 0 : 1);
  };
  EXPECT_EXIT(child(), testing::ExitedWithCode(0), "");
}

TEST(Memory, ResidentMemoryFollowsWhatIsTouched) {
  if (graft::test::kSanitized) return;
  const uint64_t before = resident_memory();
  std::vector<char> block(64 << 20, 1);
  EXPECT_NEAR(static_cast<double>(resident_memory() - before), static_cast<double>(block.size()), 4e6);
  EXPECT_GE(peak_resident_memory() + (1 << 20), resident_memory());
  EXPECT_GT(physical_memory(), block.size());
}

TEST(Memory, AFailedAllocationSaysHowMuchWasAskedFor) {
  const std::string error = test::error_of([] { fail_allocation(uint64_t{12} << 30, "packed weights"); });
  EXPECT_NE(error.find("12.88 GB more for packed weights"), std::string::npos) << error;
  EXPECT_NE(error.find("in use"), std::string::npos) << error;
}

}  // namespace
}  // namespace graft
