#include "text/trie.h"

#include "base/error.h"

namespace graft::text {

void Trie::reserve(size_t num_nodes) {
  nodes_.reserve(num_nodes);
  while (edges_.size() < num_nodes / 2) grow();
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

// The word whose low 24 bits say where `byte` leads from `node`; those bits are 0 where it leads nowhere yet.
// Valid until the next call.
uint64_t& Trie::edge_to(uint32_t node, unsigned char byte) {
  uint64_t& word = nodes_[node];
  if ((word & 0xFFFFFF) == 0) word |= uint64_t{byte} << 24;
  if ((word >> 24 & 0xFF) == byte) return word;
  word |= kHasMore;
  if ((num_edges_ + 1) * 3 > edges_.size() * 2) grow();
  const uint64_t key = uint64_t{node} << 8 | byte;
  size_t i = slot(key);
  while (edges_[i] != kFree && edges_[i] >> 24 != key) i = (i + 1) & mask_;
  if (edges_[i] == kFree) {
    edges_[i] = key << 24;
    ++num_edges_;
  }
  return edges_[i];
}

void Trie::add(std::string_view key, int32_t value) {
  if (key.empty()) return;
  uint32_t node = kRoot;
  for (size_t i = 0; i < key.size(); ++i) {
    uint64_t& edge = edge_to(node, static_cast<unsigned char>(key[i]));
    const bool is_new = (edge & 0xFFFFFF) == 0;
    if (is_new) {
      if (nodes_.size() >= kEnds)
        fail("the vocabulary is too large: more than {} distinct beginnings of tokens", uint32_t{kEnds});
      edge |= nodes_.size();
    }
    if (i + 1 == key.size()) edge |= kEnds;
    node = static_cast<uint32_t>(edge & (kEnds - 1));
    if (is_new) nodes_.push_back(0);
  }
  nodes_[node] = (nodes_[node] & 0x1FFFFFFFF) | uint64_t{static_cast<uint32_t>(value)} << 33;
}

}  // namespace graft::text
