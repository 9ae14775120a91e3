#include "cli/class_table.h"

#include <fmt/core.h>

#include <algorithm>
#include <string_view>

namespace graft::cli {

void print_class_table(LogEntry& entry, const std::string& prefix) {
  constexpr std::string_view kLast = "_number";
  struct Type {
    std::string name;
    double precision, recall, f1, number;
  };
  std::vector<Type> types;
  size_t width = 4;
  for (size_t i = 3; i < entry.size();) {
    const std::string& name = entry[i].first;
    if (!name.ends_with(kLast)) {
      ++i;
      continue;
    }
    const std::string type = name.substr(prefix.size(), name.size() - prefix.size() - kLast.size());
    types.push_back({type, entry[i - 3].second, entry[i - 2].second, entry[i - 1].second, entry[i].second});
    width = std::max(width, type.size());
    const auto at = entry.begin() + static_cast<std::ptrdiff_t>(i);
    entry.erase(at - 3, at + 1);
    i -= 3;
  }
  if (types.empty()) return;
  fmt::print("  {:{}}  precision  recall      f1  number\n", "type", width);
  for (const Type& t : types)
    fmt::print("  {:{}}     {:.4f}  {:.4f}  {:.4f}  {:6.0f}\n", t.name, width, t.precision, t.recall, t.f1,
               t.number);
}

}  // namespace graft::cli
