#include "text/trie.h"

#include <algorithm>
#include <vector>

#include "base/error.h"

namespace graft::text {

void TrieBuilder::reserve(size_t num_nodes) {
  nodes_.reserve(num_nodes);
  while (edges_.size() < num_nodes / 2) grow();
}

void TrieBuilder::grow() {
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

void TrieBuilder::add(std::string_view key, int32_t value) {
  if (key.empty()) return;
  uint32_t node = Trie::kRoot;
  for (const char c : key) {
    const auto byte = static_cast<unsigned char>(c);
    if (nodes_.size() > Trie::kChild)
      fail("the vocabulary is too large: more than {} distinct beginnings of tokens", uint64_t{Trie::kChild});
    const auto fresh = static_cast<uint32_t>(nodes_.size());
    const uint32_t first = nodes_[node].first;
    if (first == 0 || first >> 24 == byte) {
      if (first == 0) nodes_[node].first = uint32_t{byte} << 24 | fresh;
      node = nodes_[node].first & kChild;
    } else {
      if ((num_edges_ + 1) * 3 > edges_.size() * 2) grow();
      const uint64_t from = uint64_t{node} << 8 | byte;
      size_t i = slot(from);
      while (edges_[i] != kFree && edges_[i] >> 24 != from) i = (i + 1) & mask_;
      if (edges_[i] == kFree) {
        edges_[i] = from << 24 | fresh;
        ++num_edges_;
      }
      node = static_cast<uint32_t>(edges_[i] & kChild);
    }
    if (node == fresh) nodes_.emplace_back();
  }
  nodes_[node].value = value;
}

Trie TrieBuilder::build() const {
  struct Child {
    uint32_t node, keys;  // how many keys end in it or below
    unsigned char byte;
  };
  const size_t n = nodes_.size();
  std::vector<uint32_t> begin(n + 1, 0),
      keys(n, 0);  // children of a node: from begin[node] to begin[node + 1]
  const auto each_edge = [&](auto see) {
    for (size_t node = 0; node < n; ++node)
      if (const uint32_t first = nodes_[node].first)
        see(static_cast<uint32_t>(node), static_cast<unsigned char>(first >> 24),
            static_cast<uint32_t>(first & kChild));
    for (const uint64_t edge : edges_)
      if (edge != kFree)
        see(static_cast<uint32_t>(edge >> 32), static_cast<unsigned char>(edge >> 24 & 0xFF),
            static_cast<uint32_t>(edge & kChild));
  };
  std::vector<uint32_t> parent(n, 0);
  each_edge([&](uint32_t from, unsigned char, uint32_t to) {
    ++begin[from + 1];
    parent[to] = from;
  });
  for (size_t node = n; node-- > 1;) {  // children are younger than their parents
    keys[node] += nodes_[node].value >= 0;
    keys[parent[node]] += keys[node];
  }
  for (size_t node = 0; node < n; ++node) begin[node + 1] += begin[node];
  std::vector<Child> children(begin[n]);
  std::vector<uint32_t> end(begin.begin(), begin.end() - 1);
  each_edge([&](uint32_t from, unsigned char byte, uint32_t to) {
    children[end[from]++] = {to, keys[to], byte};
  });

  Trie trie;
  trie.nodes_.reserve(n);
  std::vector<std::pair<uint32_t, uint32_t>> open{{Trie::kRoot, Trie::kRoot}};  // node here, node there
  while (!open.empty()) {
    const auto [node, packed] = open.back();
    open.pop_back();
    Child *first = children.data() + begin[node], *last = children.data() + end[node];
    if (first == last) continue;
    std::sort(first, last, [](const Child& a, const Child& b) {
      return a.keys != b.keys ? a.keys > b.keys : a.byte < b.byte;
    });
    const auto place = static_cast<uint32_t>(trie.nodes_.size());
    trie.nodes_[packed] |= place;
    for (const Child* child = first; child < last; ++child)
      trie.nodes_.push_back(uint64_t{static_cast<uint32_t>(nodes_[child->node].value)} << 32 |
                            uint64_t{child->byte} << 24);
    trie.nodes_.back() |= Trie::kLast;
    for (const Child* child = last; child-- > first;)  // the fullest comes next
      open.emplace_back(child->node, place + static_cast<uint32_t>(child - first));
    if (node == Trie::kRoot)
      for (const Child* child = first; child < last; ++child)
        trie.root_[child->byte] = place + static_cast<uint32_t>(child - first);
  }
  return trie;
}

}  // namespace graft::text
