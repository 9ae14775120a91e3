#include "base/philox.h"

#include <cmath>

namespace graft {
namespace {

uint64_t mix(uint64_t x) {  // splitmix64 finaliser (Steele et al. 2014)
  x += 0x9E3779B97F4A7C15ull;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
  return x ^ (x >> 31);
}

}  // namespace

std::array<uint32_t, 4> philox4x32(PhiloxKey key, const std::array<uint32_t, 4>& counter) {
  uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
  uint32_t k0 = key.k0, k1 = key.k1;
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53u} * c0;
    const uint64_t p1 = uint64_t{0xCD9E8D57u} * c2;
    c0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0;
    c1 = static_cast<uint32_t>(p1);
    c2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c3 = static_cast<uint32_t>(p0);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {c0, c1, c2, c3};
}

PhiloxKey philox_key(uint64_t seed, uint64_t step, std::string_view name) {
  uint64_t h = 0xCBF29CE484222325ull;  // FNV-1a of the name
  for (const char c : name) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001B3ull;
  const uint64_t k = mix(mix(mix(seed) ^ step) ^ h);
  return {static_cast<uint32_t>(k), static_cast<uint32_t>(k >> 32)};
}

uint32_t PhiloxStream::next() {
  if (used_ == 4) {
    block_ = philox4x32(key_, {static_cast<uint32_t>(counter_), static_cast<uint32_t>(counter_ >> 32),
                               static_cast<uint32_t>(stream_), static_cast<uint32_t>(stream_ >> 32)});
    ++counter_;
    used_ = 0;
  }
  return block_[static_cast<size_t>(used_++)];
}

double PhiloxStream::uniform() {
  const uint64_t high = next() >> 5, low = next() >> 6;
  return static_cast<double>(high << 26 | low) * 0x1p-53;
}

uint64_t PhiloxStream::below(uint64_t n) {
  const uint64_t limit = UINT64_MAX - UINT64_MAX % n;
  for (;;) {
    const uint64_t high = next();
    const uint64_t x = high << 32 | next();
    if (x < limit) return x % n;
  }
}

double PhiloxStream::normal() {
  if (has_spare_) {
    has_spare_ = false;
    return spare_;
  }
  const double u = 1.0 - uniform(), v = uniform();
  const double r = std::sqrt(-2.0 * std::log(u)), angle = 2.0 * 3.14159265358979323846 * v;
  spare_ = r * std::sin(angle);
  has_spare_ = true;
  return r * std::cos(angle);
}

}  // namespace graft
