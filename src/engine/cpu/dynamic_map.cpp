#include "engine/cpu/dynamic_map.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

namespace graft::engine::cpu {
namespace {

constexpr int kShift = 23;  // mantissa bits of a float

// The means of neighbours in linspace(0.1, 1, items), times 10^(i - 6), for every exponent i; rounded as
// torch.linspace rounds.
std::vector<float> dynamic_values(bool is_signed) {
  std::vector<float> values = {0, 1};
  for (int i = 0; i < 7; ++i) {
    const int items = (1 << (is_signed ? i : i + 1)) + 1;
    const float step = (1 - 0.1f) / static_cast<float>(items - 1);
    const auto at = [&](int k) {
      return k < items / 2 ? std::fma(step, static_cast<float>(k), 0.1f)
                           : std::fma(-step, static_cast<float>(items - 1 - k), 1.0f);
    };
    for (int k = 0; k + 1 < items; ++k) {
      const float value = static_cast<float>(std::pow(10.0, i - 6)) * ((at(k) + at(k + 1)) / 2);
      values.push_back(value);
      if (is_signed) values.push_back(-value);
    }
  }
  std::sort(values.begin(), values.end());
  return values;
}

}  // namespace

DynamicMap::DynamicMap(bool is_signed) {
  const std::vector<float> values = dynamic_values(is_signed);
  std::copy_n(values.begin(), 256, values_.begin());
  for (size_t i = 0; i + 1 < 256; ++i) borders_[i] = (values_[i] + values_[i + 1]) / 2;
  borders_[255] = std::numeric_limits<float>::infinity();
  for (int32_t bin = 0; bin < kBins; ++bin) {
    const auto edge = [](int32_t b) {
      return b == 0 ? 0.0f
                    : std::bit_cast<float>(static_cast<uint32_t>((((127 - kExponents) << kMantissaBits) + b)
                                                                 << (kShift - kMantissaBits)));
    };
    const auto code_of = [&](float x) {
      return static_cast<uint8_t>(std::lower_bound(borders_.begin(), borders_.end(), x) - borders_.begin());
    };
    first_code_[0][static_cast<size_t>(bin)] = code_of(edge(bin));
    first_code_[1][static_cast<size_t>(bin)] = code_of(-edge(bin + 1));
  }
}

uint8_t DynamicMap::nearest(float x) const {
  const auto bits = std::bit_cast<uint32_t>(x);
  const auto bin = static_cast<int32_t>((bits & 0x7FFFFFFFu) >> (kShift - kMantissaBits)) -
                   ((127 - kExponents) << kMantissaBits);
  const uint8_t code = first_code_[bits >> 31][static_cast<size_t>(std::clamp(bin, 0, kBins - 1))];
  return static_cast<uint8_t>(code + (x > borders_[code] ? 1 : 0));
}

void DynamicMap::widen(const uint8_t* codes, int64_t n, float scale, float* to) const {
  for (int64_t i = 0; i < n; ++i) to[i] = values_[codes[i]] * scale;
}

void DynamicMap::narrow(const float* x, int64_t n, float scale, uint8_t* to) const {
  const float inverse = scale > 0 ? 1 / scale : 0;
  for (int64_t i = 0; i < n; ++i) to[i] = nearest(x[i] * inverse);
}

const DynamicMap& dynamic_map(bool is_signed) {
  static const DynamicMap signed_map(true), unsigned_map(false);
  return is_signed ? signed_map : unsigned_map;
}

}  // namespace graft::engine::cpu
