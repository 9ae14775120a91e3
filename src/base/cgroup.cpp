#include "base/cgroup.h"

#include <fstream>
#include <limits>
#include <optional>
#include <sstream>
#include <string>

namespace graft {
namespace {

namespace fs = std::filesystem;

// v1 limits from this value on mean no limit (LONG_MAX rounded down to a page).
constexpr uint64_t kUnlimited = uint64_t{1} << 60;

std::optional<std::string> first_line(const fs::path& file) {
  std::ifstream in(file);
  std::string line;
  if (!std::getline(in, line)) return std::nullopt;
  return line;
}

// A number in a file; nullopt for "max", "-1" or a missing file.
std::optional<uint64_t> number_in(const fs::path& file) {
  const std::optional<std::string> line = first_line(file);
  if (!line || line->empty() || line->find_first_not_of("0123456789") != std::string::npos)
    return std::nullopt;
  std::istringstream text(*line);
  uint64_t n = 0;
  if (!(text >> n)) return std::nullopt;
  return n;
}

// The value of `key` in a file of "key value" lines.
uint64_t stat_of(const fs::path& file, const std::string& key) {
  std::ifstream in(file);
  std::string name;
  for (uint64_t value = 0; in >> name >> value;) {
    if (name == key) return value;
  }
  return 0;
}

// Folders of the process's group and its ancestors below `mount`. In a container the membership is often a
// path of the host, which does not exist: then the mount itself is the group.
std::vector<fs::path> folders_below(const fs::path& mount, const std::string& group) {
  std::vector<fs::path> out;
  std::error_code ignored;
  fs::path path = fs::path(group).relative_path();
  for (; !path.empty(); path = path.parent_path()) {
    if (fs::is_directory(mount / path, ignored)) out.push_back(mount / path);
  }
  out.push_back(mount);
  return out;
}

// The groups of `controller`, the process's own first: of v2 (the line "0::/path") and of v1
// ("4:cpu,cpuacct:/path").
std::vector<fs::path> groups(const CgroupFiles& files, const std::string& controller) {
  std::vector<fs::path> out;
  const auto append = [&](const fs::path& mount, const std::string& group) {
    for (fs::path& p : folders_below(mount, group)) out.push_back(std::move(p));
  };
  std::ifstream in(files.membership);
  for (std::string line; std::getline(in, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1),
                      group = line.substr(second + 1);
    if (controllers.empty()) {
      append(files.mount, group);
    } else if (("," + controllers + ",").find("," + controller + ",") != std::string::npos) {
      append(files.mount / controllers, group);
      if (controllers != controller) append(files.mount / controller, group);
    }
  }
  return out;
}

}  // namespace

std::vector<CgroupMemory> cgroup_memory(const CgroupFiles& files) {
  std::vector<CgroupMemory> out;
  for (const fs::path& group : groups(files, "memory")) {
    const bool v2 = number_in(group / "memory.max").has_value();
    const std::optional<uint64_t> limit = number_in(group / (v2 ? "memory.max" : "memory.limit_in_bytes"));
    if (!limit || *limit >= kUnlimited) continue;
    const uint64_t used = number_in(group / (v2 ? "memory.current" : "memory.usage_in_bytes")).value_or(0);
    const uint64_t cache = stat_of(group / "memory.stat", v2 ? "inactive_file" : "total_inactive_file") +
                           stat_of(group / "memory.stat", v2 ? "active_file" : "total_active_file");
    out.push_back({*limit, used > cache ? used - cache : 0});
  }
  return out;
}

double cgroup_cpus(const CgroupFiles& files) {
  double cpus = 0;
  const auto take = [&](double quota, double period) {
    if (quota > 0 && period > 0 && (cpus == 0 || quota / period < cpus)) cpus = quota / period;
  };
  for (const fs::path& group : groups(files, "cpu")) {
    if (const std::optional<std::string> line = first_line(group / "cpu.max")) {
      std::istringstream text(*line);  // "max 100000" or "150000 100000"
      double quota = 0, period = 0;
      if (text >> quota >> period) take(quota, period);
    }
    if (const auto quota = number_in(group / "cpu.cfs_quota_us")) {
      take(static_cast<double>(*quota),
           static_cast<double>(number_in(group / "cpu.cfs_period_us").value_or(0)));
    }
  }
  return cpus;
}

}  // namespace graft
