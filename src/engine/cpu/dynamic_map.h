// The dynamic map of 8-bit optimizer states: 256 numbers in [-1, 1], or [0, 1], whose spacing grows with the
// magnitude (Dettmers 2016, 8-Bit Approximations for Parallelism in Deep Learning; bitsandbytes'
// create_dynamic_map).
#pragma once
#include <array>
#include <cstdint>

namespace graft::engine::cpu {

class DynamicMap {
 public:
  explicit DynamicMap(bool is_signed);

  // to[i] = value of code[i], times scale.
  void widen(const uint8_t* codes, int64_t n, float scale, float* to) const;
  // to[i] = code of the value nearest to x[i] / scale, a number of the map's range; the lower one of two.
  // With scale 0 that of 0.
  void narrow(const float* x, int64_t n, float scale, uint8_t* to) const;

  const std::array<float, 256>& values() const { return values_; }

 private:
  // A magnitude's bin: exponent and 8 bits of the mantissa, which is finer than the map everywhere, from
  // kSmallest on. A bin holds at most one border of two codes.
  static constexpr int kMantissaBits = 8, kExponents = 25;
  static constexpr int32_t kBins = (kExponents << kMantissaBits) + 1;
  uint8_t nearest(float x) const;

  std::array<float, 256> values_{};
  std::array<float, 256> borders_{};                        // between code i and i + 1; the last: infinity
  std::array<std::array<uint8_t, kBins>, 2> first_code_{};  // of the lowest number in a bin, by sign
};

// The maps of the two moments.
const DynamicMap& dynamic_map(bool is_signed);

}  // namespace graft::engine::cpu
