// A trie over bytes. A node holds its first child itself, so that the chains that most of a vocabulary
// consists of lie in a row; further children live in one open-addressing table. Up to 2^23 nodes.
#pragma once
#include <cstdint>
#include <string_view>

#include "text/huge_array.h"

namespace graft::text {

class Trie {
 public:
  static constexpr uint32_t kRoot = 0;
  static constexpr uint32_t kNone = 0xFFFFFFFF;
  static constexpr uint32_t kEnds = 1 << 23;  // set in a node's number where a key ends

  // Makes room for about as many nodes.
  void reserve(size_t num_nodes);
  // Later keys replace the value of equal earlier ones. Values are >= 0. The empty key is ignored.
  void add(std::string_view key, int32_t value);

  // The node behind `node` over `byte`, kNone when there is none.
  uint32_t next(uint32_t node, unsigned char byte) const {
    const uint64_t word = nodes_[node & ~kEnds];
    if ((word >> 24 & 0xFF) == byte && (word & 0xFFFFFF) != 0) return static_cast<uint32_t>(word & 0xFFFFFF);
    return word & kHasMore ? find_edge(node & ~kEnds, byte) : kNone;
  }
  // -1 where no key ends.
  int32_t value(uint32_t node) const {
    return node & kEnds ? static_cast<int32_t>(nodes_[node & ~kEnds] >> 33) : -1;
  }
  bool empty() const { return nodes_.size() <= 1; }

 private:
  static constexpr uint64_t kFree = ~uint64_t{0};
  static constexpr uint64_t kHasMore = uint64_t{1} << 32;

  uint32_t find_edge(uint32_t node, unsigned char byte) const {
    const uint64_t key = uint64_t{node} << 8 | byte;
    for (size_t i = slot(key);; i = (i + 1) & mask_) {
      const uint64_t edge = edges_[i];
      if (edge >> 24 == key) return static_cast<uint32_t>(edge & 0xFFFFFF);
      if (edge == kFree) return kNone;
    }
  }
  size_t slot(uint64_t key) const { return key * 0x9E3779B97F4A7C15u >> shift_; }
  uint64_t& edge_to(uint32_t node, unsigned char byte);
  void grow();

  HugeArray<uint64_t> nodes_{
      0};  // value << 33 | has more children << 32 | first byte << 24 | kEnds | first child
  HugeArray<uint64_t> edges_ = HugeArray<uint64_t>(16, kFree);  // node << 32 | byte << 24 | kEnds | child
  size_t mask_ = 15, num_edges_ = 0;
  int shift_ = 60;
};

}  // namespace graft::text
