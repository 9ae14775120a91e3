#include "cli/profile.h"

#include <fmt/format.h>

namespace graft::cli {

Profile::Profile(bool on) : on_(on) {
  if (on_) engine::set_profiling(true);
}

void Profile::stop() {
  if (!on_) return;
  seconds_ = stopwatch_.seconds();
  operations_ = engine::profile();
  engine::set_profiling(false);
}

void Profile::print(std::FILE* out) const {
  const auto rate = [](double amount, double seconds) {
    return amount > 0 && seconds > 0 ? fmt::format("{:.1f}", amount / seconds / 1e9) : std::string("-");
  };
  fmt::print(out, "\n{:24} {:>9} {:>10} {:>7} {:>10} {:>12} {:>8}\n", "operation", "calls", "seconds",
             "share", "GFLOP/s", "MB a call", "GB/s");
  double inside = 0;
  for (const engine::OperationProfile& o : operations_) {
    inside += o.seconds;
    fmt::print(out, "{:24} {:9} {:10.4f} {:6.1f}% {:>10} {:12.3f} {:>8}\n", o.name, o.calls, o.seconds,
               100 * o.seconds / seconds_, rate(o.flops, o.seconds),
               o.bytes / 1e6 / static_cast<double>(o.calls), rate(o.bytes, o.seconds));
  }
  fmt::print(out, "{:24} {:>9} {:10.4f} {:6.1f}%\n{:24} {:>9} {:10.4f}\n", "outside of operations", "",
             seconds_ - inside, 100 * (seconds_ - inside) / seconds_, "total", "", seconds_);
}

Json Profile::json() const {
  Json operations = Json::array();
  for (const engine::OperationProfile& o : operations_) {
    operations.push_back({{"operation", o.name},
                          {"calls", o.calls},
                          {"seconds", o.seconds},
                          {"share", o.seconds / seconds_},
                          {"flops", o.flops},
                          {"bytes", o.bytes}});
  }
  return {{"seconds", seconds_}, {"operations", operations}};
}

}  // namespace graft::cli
