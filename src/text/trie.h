// A trie over bytes. The children of a node lie in a row, the one with the most keys below it first, and a
// chain without branches is a row of neighbours: a step seldom leaves the cache line. Up to 2^23 nodes.
#pragma once
#include <array>
#include <cstdint>
#include <string_view>

#include "text/huge_array.h"

namespace graft::text {

class Trie {
 public:
  static constexpr uint32_t kRoot = 0;
  static constexpr uint32_t kNone = 0xFFFFFFFF;

  // The node behind `node` over `byte`, kNone when there is none.
  uint32_t next(uint32_t node, unsigned char byte) const {
    if (node == kRoot) return root_[byte];
    uint32_t child = nodes_[node] & kChild;
    if (child == 0) return kNone;
    for (;; ++child) {
      const uint64_t word = nodes_[child];
      if ((word >> 24 & 0xFF) == byte) return child;
      if (word & kLast) return kNone;
    }
  }
  // -1 where no key ends.
  int32_t value(uint32_t node) const { return static_cast<int32_t>(nodes_[node] >> 32); }
  bool empty() const { return nodes_.size() <= 1; }

 private:
  friend class TrieBuilder;
  static constexpr uint64_t kChild = (1 << 23) - 1, kLast = 1 << 23;

  HugeArray<uint64_t> nodes_ =
      HugeArray<uint64_t>(1, ~uint64_t{0} << 32);  // value | byte | kLast | first child
  std::array<uint32_t, 256> root_ = no_children();
  static std::array<uint32_t, 256> no_children() {
    std::array<uint32_t, 256> none;
    none.fill(kNone);
    return none;
  }
};

class TrieBuilder {
 public:
  // Makes room for about as many nodes.
  void reserve(size_t num_nodes);
  // Later keys replace the value of equal earlier ones. Values are >= 0. The empty key is ignored.
  void add(std::string_view key, int32_t value);
  Trie build() const;

 private:
  static constexpr uint64_t kFree = ~uint64_t{0};
  static constexpr uint64_t kChild = (1 << 24) - 1;

  size_t slot(uint64_t key) const { return key * 0x9E3779B97F4A7C15u >> shift_; }
  void grow();

  struct Node {
    uint32_t first = 0;  // byte << 24 | first child, 0: none
    int32_t value = -1;
  };
  HugeArray<Node> nodes_ = HugeArray<Node>(1);
  // Further children: node << 32 | byte << 24 | child.
  HugeArray<uint64_t> edges_ = HugeArray<uint64_t>(16, kFree);
  size_t mask_ = 15, num_edges_ = 0;
  int shift_ = 60;
};

}  // namespace graft::text
