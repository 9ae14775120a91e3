#include "train/argument_values.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>

#include "base/error.h"

namespace graft::train {
namespace {

std::string number_text(double x) {
  const bool whole = x == std::floor(x) && std::abs(x) < 1e15;
  return whole ? fmt::format("{:.0f}", x) : fmt::format("{}", x);
}

template <class Number>
Number parse_number(const std::string& name, const std::string& value, const char* expected,
                    const Range& range = {}) {
  std::string text = value;
  text.erase(std::remove(text.begin(), text.end(), '_'), text.end());
  Number n{};
  const char *begin = text.data() + (text.starts_with('+') ? 1 : 0), *text_end = text.data() + text.size();
  auto [end, error] = std::from_chars(begin, text_end, n);
  if constexpr (std::is_floating_point_v<Number>) {
    if (error == std::errc() && end == text_end && !std::isfinite(n)) {
      error = std::errc::result_out_of_range;
      expected = "a finite number";
    }
  } else if (error == std::errc() && end != text_end) {  // "1e4" and "3.0" are integers to a user
    double d = 0;
    const auto [d_end, d_error] = std::from_chars(begin, text_end, d);
    const bool fits = d >= static_cast<double>(std::numeric_limits<Number>::min()) &&
                      d < std::ldexp(1.0, std::numeric_limits<Number>::digits);
    const bool whole = d_error == std::errc() && d_end == text_end && d == std::floor(d);
    if (whole && fits) n = static_cast<Number>(d), end = d_end;
    if (whole && !fits) error = std::errc::result_out_of_range;
  }
  if (!std::is_floating_point_v<Number> && error == std::errc::result_out_of_range) {
    constexpr Number low = std::numeric_limits<Number>::min(), high = std::numeric_limits<Number>::max();
    const bool limited = range.max < static_cast<double>(high);
    throw UsageError(fmt::format("--{} {} is out of range: it may be {}", name, value,
                                 limited ? range.text() : fmt::format("from {} to {}", low, high)));
  }
  if (text.empty() || error != std::errc() || end != text_end)
    throw UsageError(fmt::format("--{} {}: {} was expected", name, value, expected));
  return n;
}

}  // namespace

bool Range::contains(double x) const {
  if (!std::isfinite(x) || x < min || x > max) return false;
  if (x == min && ends == Ends::without_min) return false;
  if (x == max && ends == Ends::without_max) return false;
  return !ratio_or_whole || x < 1 || x == std::floor(x);
}

std::string Range::text() const {
  const std::string low = number_text(min), high = number_text(max);
  const std::string bounds = ends == Ends::without_min   ? fmt::format("above {} and at most {}", low, high)
                             : ends == Ends::without_max ? fmt::format("from {} to below {}", low, high)
                                                         : fmt::format("from {} to {}", low, high);
  return ratio_or_whole ? bounds + ", from 1 on an integer (steps), below 1 a ratio of all steps" : bounds;
}

int64_t parse_integer(const std::string& name, const std::string& value, const Range& range) {
  return parse_number<int64_t>(name, value, "an integer", range);
}

uint64_t parse_unsigned(const std::string& name, const std::string& value) {
  return parse_number<uint64_t>(name, value, "an integer that is not negative");
}

double parse_real(const std::string& name, const std::string& value) {
  return parse_number<double>(name, value, "a number");
}

bool parse_switch(const std::string& name, const std::string& value) {
  std::string v = value;
  std::transform(v.begin(), v.end(), v.begin(), [](unsigned char c) { return std::tolower(c); });
  if (v.empty() || v == "true" || v == "1" || v == "yes" || v == "y" || v == "t" || v == "on") return true;
  if (v == "false" || v == "0" || v == "no" || v == "n" || v == "f" || v == "off") return false;
  throw UsageError(fmt::format("--{} {}: true or false was expected", name, value));
}

void check_range(const std::string& name, double value, const Range& range, std::optional<double> fallback) {
  if (range.contains(value) || (fallback && value == *fallback)) return;
  const std::string also = !fallback || range.contains(*fallback)
                               ? ""
                               : fmt::format(", or {} (the default)", number_text(*fallback));
  throw UsageError(
      fmt::format("--{} {} is out of range: it may be {}{}", name, number_text(value), range.text(), also));
}

}  // namespace graft::train
