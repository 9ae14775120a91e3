// Parses the values of options and checks their ranges.
#pragma once
#include <cstdint>
#include <limits>
#include <optional>
#include <string>

namespace graft::train {

// The allowed values of a number. With ratio_or_whole, numbers from 1 on are whole steps and numbers below 1
// are ratios of all steps.
struct Range {
  double min = std::numeric_limits<double>::lowest(), max = std::numeric_limits<double>::max();
  enum class Ends : uint8_t { included, without_min, without_max } ends = Ends::included;
  bool ratio_or_whole = false;

  bool contains(double x) const;
  std::string text() const;  // "from 1 to 1000000", "above 0 and at most 1"
};

// "10_000" and "1e4" are integers. UsageError that names the option for anything else, inf and nan included.
// `range` is for the message about a number that no 64-bit integer holds.
int64_t parse_integer(const std::string& name, const std::string& value, const Range& range = {});
uint64_t parse_unsigned(const std::string& name, const std::string& value);
double parse_real(const std::string& name, const std::string& value);
// "", "true", "yes", "1", "on" are true.
bool parse_switch(const std::string& name, const std::string& value);

// Throws UsageError with option, value and range. The default of the option is allowed even outside the
// range.
void check_range(const std::string& name, double value, const Range& range,
                 std::optional<double> fallback = std::nullopt);

}  // namespace graft::train
