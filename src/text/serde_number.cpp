// serde_json 1.0, src/de.rs: parse_integer, parse_decimal, parse_exponent, f64_from_parts.
#include "text/serde_number.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <limits>

namespace graft::text {
namespace {

constexpr int kMaxPower = 308;

// 1e0 ... 1e308, each the nearest double.
const std::array<double, kMaxPower + 1>& powers_of_ten() {
  static const auto table = [] {
    std::array<double, kMaxPower + 1> t{};
    for (int i = 0; i <= kMaxPower; ++i) {
      char text[8] = {'1', 'e'};
      const char* end = std::to_chars(text + 2, text + sizeof text, i).ptr;
      std::from_chars(text, end, t[static_cast<size_t>(i)]);
    }
    return t;
  }();
  return table;
}

std::optional<double> from_parts(uint64_t significand, int64_t exponent) {
  auto f = static_cast<double>(significand);
  while (std::abs(exponent) > kMaxPower) {
    if (f == 0) return 0.0;
    if (exponent > 0) return std::nullopt;
    f /= powers_of_ten()[kMaxPower];
    exponent += kMaxPower;
  }
  const double power = powers_of_ten()[static_cast<size_t>(std::abs(exponent))];
  f = exponent >= 0 ? f * power : f / power;
  return std::isinf(f) ? std::nullopt : std::optional<double>(f);
}

}  // namespace

std::optional<double> parse_serde_number(std::string_view number) {
  size_t pos = 0;
  const auto is_digit = [&] { return pos < number.size() && number[pos] >= '0' && number[pos] <= '9'; };
  const bool negative = !number.empty() && number[0] == '-';
  pos += negative;
  uint64_t significand = 0;
  int64_t exponent = 0;
  bool full = false;  // a digit does not fit: the remaining ones are dropped
  const auto take_digit = [&] {
    const auto digit = static_cast<uint64_t>(number[pos] - '0');
    constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();
    full = full || significand > kMax / 10 || (significand == kMax / 10 && digit > kMax % 10);
    if (!full) significand = significand * 10 + digit;
    return !full;
  };
  for (; is_digit(); ++pos) exponent += !take_digit();
  if (pos < number.size() && number[pos] == '.') {
    full = false;  // the digits of the fraction are tried separately
    for (++pos; is_digit(); ++pos) exponent -= take_digit();
  }
  if (pos < number.size() && (number[pos] == 'e' || number[pos] == 'E')) {
    ++pos;
    const bool down = pos < number.size() && number[pos] == '-';
    if (pos < number.size() && (number[pos] == '-' || number[pos] == '+')) ++pos;
    int64_t power = 0;
    for (; is_digit(); ++pos) power = std::min<int64_t>(power * 10 + (number[pos] - '0'), 1'000'000'000);
    exponent += down ? -power : power;
  }
  const auto value = from_parts(significand, exponent);
  return value && negative ? -*value : value;
}

}  // namespace graft::text
