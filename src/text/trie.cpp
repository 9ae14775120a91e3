#include "text/trie.h"

#include "base/error.h"

namespace graft::text {

void Trie::reserve(size_t total_bytes) {
  while (edges_.size() < total_bytes) grow();
}

void Trie::grow() {
  const HugeArray<uint64_t> old = std::move(edges_);
  edges_.assign(old.size() * 2, kFree);
  mask_ = edges_.size() - 1;
  --shift_;
  for (const uint64_t edge : old) {
    if (edge == kFree) continue;
    size_t i = slot(edge >> 24);
    while (edges_[i] != kFree) i = (i + 1) & mask_;
    edges_[i] = edge;
  }
}

void Trie::add(std::string_view key, int32_t value) {
  if (key.empty()) return;
  uint32_t node = kRoot;
  size_t edge = 0;
  for (const char c : key) {
    if ((num_edges_ + 1) * 3 > edges_.size() * 2) grow();
    const uint64_t edge_key = uint64_t{node} << 8 | static_cast<unsigned char>(c);
    edge = slot(edge_key);
    while (edges_[edge] != kFree && edges_[edge] >> 24 != edge_key) edge = (edge + 1) & mask_;
    if (edges_[edge] == kFree) {
      if (values_.size() >= kEnds)
        fail("the vocabulary is too large: more than {} distinct beginnings of tokens", kEnds);
      edges_[edge] = edge_key << 24 | values_.size();
      values_.push_back(-1);
      ++num_edges_;
    }
    node = static_cast<uint32_t>(edges_[edge] & (kEnds - 1));
  }
  edges_[edge] |= kEnds;
  values_[node] = value;
}

}  // namespace graft::text
