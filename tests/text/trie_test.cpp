// The trie against a map.
#include "text/trie.h"

#include <gtest/gtest.h>

#include <map>

#include "base/philox.h"

namespace graft::text {
namespace {

int32_t find(const Trie& trie, std::string_view key) {
  uint32_t node = Trie::kRoot;
  for (const char c : key) {
    node = trie.next(node, static_cast<unsigned char>(c));
    if (node == Trie::kNone) return -2;  // no key begins so
  }
  return node == Trie::kRoot ? -2 : trie.value(node);
}

TEST(Trie, EqualsAMap) {
  for (uint64_t seed = 0; seed < 30; ++seed) {
    PhiloxStream random(philox_key(seed, 0, "trie"));
    // Few letters, so that keys share beginnings beyond the eight bytes that are compared at once.
    const char letters[] = {'a', 'b', '\0', '\x7f', '\x80', '\xff'};
    const size_t some = 2 + random.below(5);
    const auto word = [&] {
      std::string out = random.below(3) == 0 ? "aaaaaaaa" : "";
      for (size_t n = random.below(7); n > 0; --n) out += letters[random.below(some)];
      return out;
    };
    TrieBuilder builder;
    std::map<std::string, int32_t> ends, begins;
    for (int32_t i = 0; i < 300; ++i) {
      const std::string key = word();
      builder.add(key, i);
      if (!key.empty()) ends[key] = i;
      for (size_t n = 1; n <= key.size(); ++n) begins[key.substr(0, n)] = i;
    }
    const Trie trie = builder.build();
    ASSERT_FALSE(trie.empty());
    for (int i = 0; i < 2000; ++i) {
      const std::string key = word();
      const auto it = ends.find(key);
      ASSERT_EQ(find(trie, key), it != ends.end() ? it->second : begins.count(key) ? -1 : -2) << seed;
    }
    for (const auto& [key, value] : ends) ASSERT_EQ(find(trie, key), value) << seed;
  }
}

TEST(Trie, WithoutKeys) {
  TrieBuilder builder;
  builder.add("", 1);
  const Trie trie = builder.build();
  EXPECT_TRUE(trie.empty());
  EXPECT_EQ(find(trie, "a"), -2);
}

}  // namespace
}  // namespace graft::text
