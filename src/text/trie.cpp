#include "text/trie.h"

namespace graft::text {

void Trie::reserve(size_t total_bytes) {
  while (edges_.size() < total_bytes) grow();
}

void Trie::grow() {
  std::vector<Edge> old = std::move(edges_);
  edges_.assign(old.size() * 2, Edge{});
  mask_ = edges_.size() - 1;
  --shift_;
  for (const Edge& edge : old) {
    if (edge.key == kFree) continue;
    size_t i = slot(edge.key);
    while (edges_[i].key != kFree) i = (i + 1) & mask_;
    edges_[i] = edge;
  }
}

void Trie::add(std::string_view key, int32_t value) {
  uint32_t node = kRoot;
  for (const char c : key) {
    uint32_t to = next(node, static_cast<unsigned char>(c));
    if (to == kNone) {
      if ((num_edges_ + 1) * 2 > edges_.size()) grow();
      to = static_cast<uint32_t>(values_.size());
      values_.push_back(-1);
      const uint64_t edge_key = uint64_t{node} << 8 | static_cast<unsigned char>(c);
      size_t i = slot(edge_key);
      while (edges_[i].key != kFree) i = (i + 1) & mask_;
      edges_[i] = {edge_key, to, 0};
      ++num_edges_;
    }
    node = to;
  }
  values_[node] = value;
}

}  // namespace graft::text
