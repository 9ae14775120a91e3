// Byte-pair encoding (Sennrich et al. 2016): the merge of lowest rank first.
#pragma once
#include <array>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/huge_array.h"
#include "text/model.h"

namespace graft::text {

class Bpe : public Model {
 public:
  using Merges = std::vector<std::pair<std::string_view, std::string_view>>;
  Bpe(Vocab vocab, const Merges& merges, const BpeOptions& options, const std::string& where);

  void tokenize(std::string_view word, Pieces& out) const override;
  // A word as raw bytes, for byte-level vocabularies (has_byte_alphabet): pieces are ranges of the raw bytes.
  void tokenize_bytes(std::string_view bytes, Pieces& out) const;
  // True if every byte of GPT-2's alphabet has an id and the model has no prefix, suffix or dropout.
  bool has_byte_alphabet() const { return has_byte_alphabet_; }

  std::string kind() const override { return "BPE"; }
  bool is_cacheable() const override { return options_.dropout == 0; }

 private:
  struct Symbol {
    int32_t id, begin, end;  // the piece and its bytes
    int32_t previous, next;  // neighbours, -1 at the ends
  };
  struct Merge {
    uint64_t pair;  // left id << 32 | right id; kFree marks a free slot
    int32_t rank, id;
  };
  static constexpr uint64_t kFree = ~uint64_t{0};

  const Merge* find_merge(int32_t left, int32_t right) const {
    const uint64_t pair = uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
    const size_t bit = filter_bit(pair);
    if (!(filter_[bit / 64] >> bit % 64 & 1)) return nullptr;
    for (size_t i = slot(pair);; i = (i + 1) & mask_) {
      if (merges_[i].pair == pair) return &merges_[i];
      if (merges_[i].pair == kFree) return nullptr;
    }
  }
  static uint64_t hash(uint64_t pair) { return (pair ^ pair >> 29) * 0x9E3779B97F4A7C15u; }
  size_t slot(uint64_t pair) const { return hash(pair) >> shift_; }
  size_t filter_bit(uint64_t pair) const { return hash(pair) >> (shift_ - 2); }
  void add_merge(int32_t left, int32_t right, int32_t rank, int32_t id);
  class Stretch;
  void add_symbols(std::string_view word, Stretch& stretch) const;
  void add_unknown(std::string_view piece, int32_t size, Stretch& stretch) const;
  void index_vocab();
  int32_t find_character(char32_t c, std::string_view text) const {
    return c < char_ids_.size() ? char_ids_[c] : vocab.find(text);
  }
  size_t joint_bit(int32_t left, int32_t right) const {
    return filter_bit(uint64_t{ends_[static_cast<size_t>(left)].last} << 32 |
                      ends_[static_cast<size_t>(right)].first);
  }
  bool may_join(int32_t left, int32_t right) const {
    const size_t bit = joint_bit(left, right);
    return joints_[bit / 64] >> bit % 64 & 1;
  }
  void merge_short(std::span<Symbol> symbols) const;
  void merge_long(std::span<Symbol> symbols, uint64_t seed) const;

  BpeOptions options_;
  HugeArray<Merge> merges_;
  std::vector<uint64_t> filter_;  // four bits per slot; 0: no merge there. Fits into the L2 cache
  // Pairs of characters that some merge joins: last character of its left part, first character of its right
  // part. A Bloom filter, as filter_: a bit of 0 is certain. Empty if words are not cut (prefix or dropout).
  struct Ends {
    char32_t first, last;  // characters of a token
  };
  std::vector<Ends> ends_;
  std::vector<uint64_t> joints_;
  size_t mask_ = 0;
  int shift_ = 0;
  int32_t unk_id_ = -1;
  std::vector<int32_t> char_ids_;        // ids of single characters, by code point
  std::vector<int32_t> byte_ids_;        // byte fallback
  std::array<int32_t, 256> alphabet_{};  // byte-level alphabet
  bool has_byte_alphabet_ = false;
  Vocab raw_;  // ignore_merges: tokens by raw bytes
};

}  // namespace graft::text
