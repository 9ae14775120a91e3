// Philox4x32-10: randomness as a function of a key and a counter (Salmon et al. 2011, "Parallel random
// numbers: as easy as 1, 2, 3"). The same numbers on any device, in any order, for any number of threads.
#pragma once
#include <array>
#include <cstdint>
#include <string_view>

namespace graft {

struct PhiloxKey {
  uint32_t k0, k1;
};

// The four words at `counter`.
std::array<uint32_t, 4> philox4x32(PhiloxKey key, const std::array<uint32_t, 4>& counter);

// A key mixed from (seed, step, name): e.g. the run's seed, the optimizer step, the operation's scope.
PhiloxKey philox_key(uint64_t seed, uint64_t step, std::string_view name);

// The stream of one key with a running counter, for host-side draws (shuffles, initialisation).
class PhiloxStream {
 public:
  explicit PhiloxStream(PhiloxKey key, uint64_t stream = 0) : key_(key), stream_(stream) {}
  uint32_t next();
  double uniform();            // [0, 1), 53 bits
  uint64_t below(uint64_t n);  // [0, n), unbiased
  double normal();             // mean 0, variance 1 (Box-Muller)

 private:
  PhiloxKey key_;
  uint64_t stream_, counter_ = 0;
  std::array<uint32_t, 4> block_{};
  int used_ = 4;
  double spare_ = 0;
  bool has_spare_ = false;
};

}  // namespace graft
