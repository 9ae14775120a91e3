// The vocabulary: token <-> id, in flat arrays. Ids may have gaps. A token has one id.
#pragma once
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace graft::text {

// A fast hash of a short byte string.
inline uint64_t hash_bytes(const char* data, size_t size) {
  uint64_t h = 0x9E3779B97F4A7C15u ^ (size * 0xD6E8FEB86659FD93u);
  while (size >= 8) {
    uint64_t v;
    std::memcpy(&v, data, 8);
    h = (h ^ v) * 0xD6E8FEB86659FD93u;
    h ^= h >> 32;
    data += 8;
    size -= 8;
  }
  uint64_t v = 0;
  std::memcpy(&v, data, size);
  h = (h ^ v) * 0xD6E8FEB86659FD93u;
  return h ^ h >> 29;
}

class Vocab {
 public:
  // Reserves memory for `tokens` entries with `bytes` bytes in total.
  void reserve(size_t tokens, size_t bytes);
  // Adds a token; false if another token has the id. An existing token gets the new id, as in a map that is
  // read in order; its old id keeps the text.
  bool add(std::string_view token, int32_t id);

  int32_t find(std::string_view token) const;  // -1 when absent
  // The text of an id; empty if the id has no token (has(id) tells it from an empty token).
  std::string_view token(int32_t id) const {
    return has(id) ? std::string_view(bytes_.data() + entries_[id].begin, entries_[id].size)
                   : std::string_view();
  }
  bool has(int32_t id) const { return id >= 0 && id < end_id() && entries_[id].size != kHole; }
  int32_t end_id() const { return static_cast<int32_t>(entries_.size()); }  // one more than the highest id
  size_t size() const { return count_; }                                    // number of ids in use
  bool has_duplicates() const { return used_slots_ != count_; }             // a token moved to another id
  size_t max_token_bytes() const { return max_token_bytes_; }
  size_t num_bytes() const { return bytes_.size(); }  // of all tokens

 private:
  static constexpr uint32_t kHole = 0xFFFFFFFF;
  struct Entry {
    uint32_t begin, size;
  };
  struct Slot {
    uint32_t hash;
    int32_t id;  // -1: free
  };
  void grow(size_t slots);

  std::vector<char> bytes_;
  std::vector<Entry> entries_;
  std::vector<Slot> slots_;
  size_t count_ = 0, used_slots_ = 0, max_token_bytes_ = 0;
};

}  // namespace graft::text
