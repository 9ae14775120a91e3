// A trie over bytes whose edges live in one open-addressing table: quick to build, one probe a step. Up to
// 2^23 nodes.
#pragma once
#include <cstdint>
#include <string_view>

#include "text/huge_array.h"

namespace graft::text {

class Trie {
 public:
  static constexpr uint32_t kRoot = 0;
  static constexpr uint32_t kNone = 0xFFFFFFFF;
  static constexpr uint32_t kEnds = 1 << 23;

  void reserve(size_t total_bytes);
  // Later keys replace the value of equal earlier ones. Values are >= 0.
  void add(std::string_view key, int32_t value);

  // The node behind `node` over `byte`, kNone when there is none. Nodes carry kEnds where a key ends.
  uint32_t next(uint32_t node, unsigned char byte) const {
    const uint64_t key = uint64_t{node & ~kEnds} << 8 | byte;
    for (size_t i = slot(key);; i = (i + 1) & mask_) {
      const uint64_t edge = edges_[i];
      if (edge >> 24 == key)
        return static_cast<uint32_t>(edge & 0xFFFFFF);  // node and whether a key ends there
      if (edge == kFree) return kNone;
    }
  }
  // -1 where no key ends.
  int32_t value(uint32_t node) const { return node & kEnds ? values_[node & ~kEnds] : -1; }
  bool empty() const { return values_.size() <= 1; }

 private:
  static constexpr uint64_t kFree = ~uint64_t{0};
  size_t slot(uint64_t key) const { return key * 0x9E3779B97F4A7C15u >> shift_; }
  void grow();

  HugeArray<uint64_t> edges_ = HugeArray<uint64_t>(16, kFree);  // node << 32 | byte << 24 | kEnds | next
  size_t mask_ = 15, num_edges_ = 0;
  int shift_ = 60;
  HugeArray<int32_t> values_{-1};
};

}  // namespace graft::text
