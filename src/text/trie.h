// A trie over bytes. The children of a node are adjacent, the one with the most keys below it first. The
// nodes of a chain without branches are adjacent too, so that most steps stay in one cache line. At most 2^23
// nodes.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/huge_array.h"

namespace graft::text {

class Trie {
 public:
  static constexpr uint32_t kRoot = 0;
  static constexpr uint32_t kNone = 0xFFFFFFFF;

  // The child of `node` for `byte`, kNone if there is none.
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
  // -1 if no key ends at the node.
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

// Collects and sorts the keys, so that building accesses memory in order.
class TrieBuilder {
 public:
  // Reserves memory for keys of `bytes` bytes in total.
  void reserve(size_t keys, size_t bytes);
  // A later key replaces the value of an equal earlier key. Values are >= 0. The empty key is ignored.
  void add(std::string_view key, int32_t value);
  Trie build() const;

 private:
  struct Key {
    uint32_t begin, size;  // range of bytes in text_
    int32_t value;
  };
  struct Sorted {
    std::vector<Key> keys;  // sorted by their bytes, without repetition
    std::string text;
  };
  Sorted sorted() const;

  std::vector<Key> keys_;
  std::string text_;
};

}  // namespace graft::text
