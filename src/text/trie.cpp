#include "text/trie.h"

#include <algorithm>
#include <cstring>
#include <tuple>

#include "base/error.h"

namespace graft::text {
namespace {

// The first eight bytes, padded with zeros, as a number with the same order.
uint64_t head_of(std::string_view key) {
  uint64_t head = 0;
  std::memcpy(&head, key.data(), std::min<size_t>(key.size(), 8));
  return __builtin_bswap64(head);
}

}  // namespace

void TrieBuilder::reserve(size_t keys, size_t bytes) {
  keys_.reserve(keys);
  text_.reserve(bytes);
}

void TrieBuilder::add(std::string_view key, int32_t value) {
  if (key.empty()) return;
  if (text_.size() + key.size() > UINT32_MAX) fail("the vocabulary is too large: over 4 GB of tokens");
  keys_.push_back({static_cast<uint32_t>(text_.size()), static_cast<uint32_t>(key.size()), value});
  text_ += key;
}

TrieBuilder::Sorted TrieBuilder::sorted() const {
  struct Entry {
    uint64_t head;
    uint32_t key;
  };
  std::vector<Entry> order(keys_.size());
  const auto bytes = [&](uint32_t key) {
    return std::string_view(text_).substr(keys_[key].begin, keys_[key].size);
  };
  for (uint32_t i = 0; i < order.size(); ++i) order[i] = {head_of(bytes(i)), i};
  std::sort(order.begin(), order.end(), [&](const Entry& a, const Entry& b) {
    if (a.head != b.head) return a.head < b.head;
    const int rest = bytes(a.key).compare(bytes(b.key));
    return rest != 0 ? rest < 0 : a.key < b.key;
  });
  Sorted out;
  out.keys.reserve(order.size());
  out.text.reserve(text_.size());
  for (size_t i = 0; i < order.size(); ++i) {
    const std::string_view key = bytes(order[i].key);
    if (i + 1 < order.size() && order[i].head == order[i + 1].head && key == bytes(order[i + 1].key))
      continue;
    out.keys.push_back({static_cast<uint32_t>(out.text.size()), static_cast<uint32_t>(key.size()),
                        keys_[order[i].key].value});
    out.text += key;
  }
  return out;
}

Trie TrieBuilder::build() const {
  const Sorted all = sorted();
  const std::vector<Key>& keys = all.keys;
  // A node is a range of keys whose first `depth` bytes are equal.
  struct Node {
    uint32_t first, last, depth, place;
  };
  struct Child {
    uint32_t first, last;
    unsigned char byte;
  };
  const auto byte_of = [&](uint32_t key, uint32_t depth) {
    return static_cast<unsigned char>(all.text[keys[key].begin + depth]);
  };
  Trie trie;
  trie.nodes_.reserve(all.text.size() / 2);
  std::vector<Node> open{{0, static_cast<uint32_t>(keys.size()), 0, Trie::kRoot}};
  std::vector<Child> children;
  while (!open.empty()) {
    auto [first, last, depth, place] = open.back();
    open.pop_back();
    if (first < last && keys[first].size == depth) ++first;  // this key ends at the node
    if (first == last) continue;
    children.clear();
    for (uint32_t begin = first; begin < last;) {
      const unsigned char byte = byte_of(begin, depth);
      uint32_t end = last;
      if (byte_of(last - 1, depth) != byte) {
        end = begin + 1;
        while (byte_of(end, depth) == byte) ++end;
      }
      children.push_back({begin, end, byte});
      begin = end;
    }
    std::sort(children.begin(), children.end(), [](const Child& a, const Child& b) {
      return std::tuple(b.last - b.first, a.byte) < std::tuple(a.last - a.first, b.byte);
    });
    const auto row = static_cast<uint32_t>(trie.nodes_.size());
    if (row + children.size() > Trie::kChild)
      fail("the vocabulary is too large: more than {} distinct beginnings of tokens", uint64_t{Trie::kChild});
    trie.nodes_[place] |= row;
    for (const Child& child : children) {
      const bool ends = keys[child.first].size == depth + 1;
      const auto value = static_cast<uint32_t>(ends ? keys[child.first].value : -1);
      trie.nodes_.push_back(uint64_t{value} << 32 | uint64_t{child.byte} << 24);
    }
    trie.nodes_.back() |= Trie::kLast;
    for (size_t i = children.size(); i-- > 0;) {  // the child with the most keys is popped first
      const auto at = row + static_cast<uint32_t>(i);
      open.push_back({children[i].first, children[i].last, depth + 1, at});
      if (place == Trie::kRoot) trie.root_[children[i].byte] = at;
    }
  }
  return trie;
}

}  // namespace graft::text
