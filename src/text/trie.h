// A trie over bytes whose edges live in one open-addressing table: quick to build, one probe a step.
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

namespace graft::text {

class Trie {
 public:
  static constexpr uint32_t kRoot = 0;
  static constexpr uint32_t kNone = 0xFFFFFFFF;

  void reserve(size_t total_bytes);
  // Later keys replace the value of equal earlier ones. Values are >= 0.
  void add(std::string_view key, int32_t value);

  // The node behind `node` over `byte`, kNone when there is none.
  uint32_t next(uint32_t node, unsigned char byte) const {
    const uint64_t key = uint64_t{node} << 8 | byte;
    for (size_t i = slot(key);; i = (i + 1) & mask_) {
      const Edge& edge = edges_[i];
      if (edge.key == key) return edge.node;
      if (edge.key == kFree) return kNone;
    }
  }
  // -1 where no key ends.
  int32_t value(uint32_t node) const { return values_[node]; }
  bool empty() const { return values_.size() <= 1; }

 private:
  static constexpr uint64_t kFree = ~uint64_t{0};
  struct Edge {
    uint64_t key = kFree;
    uint32_t node = 0;
    uint32_t unused = 0;
  };
  size_t slot(uint64_t key) const { return key * 0x9E3779B97F4A7C15u >> shift_; }
  void grow();

  std::vector<Edge> edges_ = std::vector<Edge>(16);
  size_t mask_ = 15, num_edges_ = 0;
  int shift_ = 60;
  std::vector<int32_t> values_{-1};
};

}  // namespace graft::text
