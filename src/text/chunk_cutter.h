// Cuts a text into the chunks that the fast path tokenizes one by one. It works on blocks of 64 bytes:
// classes of bytes are bits, and shifts of these bits give the bounds of the chunks. Characters beyond ASCII
// are checked one by one afterwards.
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

namespace graft::text {

class ChunkCutter {
 public:
  enum class Rule {
    bert,    // a punctuation mark, an ideograph, or the text between these and white space
    gpt2,    // GPT-2's words
    spaces,  // spaces and the text up to the next space
  };
  static constexpr size_t kBatch = 32;
  static constexpr size_t kBatchRoom = kBatch + 72;

  // Starts on a text, which must be valid UTF-8 and outlive the calls of next(). `isolates_chinese`: each of
  // BERT's ideographs is a chunk.
  void start(std::string_view text, Rule rule, bool isolates_chinese);
  // Chunks [begins[i], ends[i]) in order; both arrays have kBatchRoom entries. Returns the number of chunks,
  // 0 at the end.
  size_t next(uint32_t* begins, uint32_t* ends);

 private:
  void cut_bert(bool isolates_chinese);
  void cut_gpt2();
  void cut_spaces();
  void isolate_ideographs();
  void cut_contractions();
  void cut_gpt2_beyond_ascii();
  void join_clusters();
  template <class See>
  void for_each_word(See see) const;

  bool is_bound(size_t i) const { return bounds_[i / 64] >> i % 64 & 1; }
  void set_bound(size_t i) { bounds_[i / 64] |= uint64_t{1} << i % 64; }
  void clear_bound(size_t i) { bounds_[i / 64] &= ~(uint64_t{1} << i % 64); }
  void clear_bounds(size_t begin, size_t end);
  size_t last_bound(size_t i) const;
  static size_t next_bit(const std::vector<uint64_t>& bits, size_t i, size_t none);

  std::string_view text_;
  size_t words_ = 0, word_ = 0;  // number of words of 64 positions; the current one of next()
  bool has_open_ = false;        // a chunk has begun at open_
  uint32_t open_ = 0;
  // Bit i: a chunk may begin or end before byte i; byte i belongs to no chunk; byte i must be checked by
  // itself.
  std::vector<uint64_t> bounds_, gaps_, odd_;
};

}  // namespace graft::text
