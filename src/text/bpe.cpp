#include "text/bpe.h"

#include <algorithm>
#include <functional>
#include <queue>
#include <unordered_map>

#include "base/error.h"
#include "base/philox.h"
#include "base/utf8.h"
#include "text/unicode.h"

namespace graft::text {
namespace {

// Words of at most this many symbols are merged by scanning, longer words with a heap.
constexpr size_t kShortWord = 40;

// The raw bytes of a token in GPT-2's alphabet; false when it holds other characters.
bool to_raw_bytes(std::string_view token, std::string& out) {
  out.clear();
  for (size_t pos = 0; pos < token.size();) {
    const int b = char_to_byte(next_char(token, pos));
    if (b < 0) return false;
    out += static_cast<char>(b);
  }
  return true;
}

char32_t last_char(std::string_view text) {
  size_t pos = text.size() - 1;
  while (pos > 0 && (static_cast<unsigned char>(text[pos]) & 0xC0) == 0x80) --pos;
  return next_char(text, pos);
}

}  // namespace

Bpe::Bpe(Vocab v, const Merges& merges, const BpeOptions& options, const std::string& where)
    : options_(options) {
  vocab = std::move(v);
  if (!options.unk_token.empty()) {
    unk_id_ = vocab.find(options.unk_token);
    if (unk_id_ < 0) fail("{}: the unknown token {:?} is not in the vocabulary", where, options.unk_token);
  }
  if (!(options.dropout >= 0 && options.dropout <= 1))
    fail("{}: dropout must lie in [0, 1], not {}", where, options.dropout);
  if (options.byte_fallback) byte_ids_ = byte_fallback_ids(vocab);
  size_t slots = 16;
  shift_ = 60;
  while (slots < merges.size() * 2) {
    slots *= 2;
    --shift_;
  }
  merges_.assign(slots, {kFree, 0, 0});
  filter_.assign(slots * 4 / 64, 0);
  if (options.prefix.empty() && options.dropout == 0) joints_.assign(filter_.size(), 0);
  mask_ = slots - 1;
  index_vocab();
  std::string merged;
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const auto& [a, b] = merges[rank];
    const int32_t left = vocab.find(a), right = vocab.find(b);
    merged.assign(a);
    const bool prefixed = !options.prefix.empty() && b.substr(0, options.prefix.size()) == options.prefix;
    merged.append(prefixed ? b.substr(options.prefix.size()) : b);
    const int32_t id = vocab.find(merged);
    if (left < 0 || right < 0 || id < 0)
      fail_with("the vocabulary and the merges do not belong together",
                "{}: merge {} ({:?} {:?}) names the token {:?}, which is not in the vocabulary", where,
                rank + 1, std::string(a), std::string(b),
                left < 0    ? std::string(a)
                : right < 0 ? std::string(b)
                            : merged);
    add_merge(left, right, static_cast<int32_t>(rank), id);
    if (joints_.empty()) continue;
    const size_t bit = joint_bit(left, right);
    joints_[bit / 64] |= uint64_t{1} << bit % 64;
  }
  has_byte_alphabet_ = options.prefix.empty() && options.suffix.empty() && options.dropout == 0;
  for (int b = 0; b < 256; ++b) {
    std::string c;
    utf8::append(c, byte_to_char(static_cast<uint8_t>(b)));
    alphabet_[b] = vocab.find(c);
    has_byte_alphabet_ &= alphabet_[b] >= 0;
  }
  if (has_byte_alphabet_ && options.ignore_merges) {
    std::string raw;
    for (int32_t id = 0; id < vocab.end_id(); ++id)
      if (vocab.has(id) && to_raw_bytes(vocab.token(id), raw)) raw_.add(raw, id);
  }
}

void Bpe::add_merge(int32_t left, int32_t right, int32_t rank, int32_t id) {
  const uint64_t pair = uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
  size_t i = slot(pair);
  while (merges_[i].pair != kFree && merges_[i].pair != pair) i = (i + 1) & mask_;
  merges_[i] = {pair, rank, id};
  filter_[filter_bit(pair) / 64] |= uint64_t{1} << filter_bit(pair) % 64;
}

// Tables for frequent lookups: the ids of single characters by code point, and the first and last character
// of every token. Two neighbouring characters that no merge joins are never inside one token. A word is cut
// between them.
void Bpe::index_vocab() {
  // half a megabyte; characters beyond it are looked up by text
  constexpr char32_t kMostCodePoints = 0x20000;
  const auto end_id = static_cast<size_t>(vocab.end_id());
  if (!joints_.empty()) ends_.assign(end_id, {0, 0});
  for (size_t i = 0; i < end_id; ++i) {
    const std::string_view token = vocab.token(static_cast<int32_t>(i));
    if (token.empty()) continue;
    size_t pos = 0;
    const char32_t c = next_char(token, pos);
    if (!joints_.empty()) ends_[i] = {c, last_char(token)};
    if (pos != token.size() || c >= kMostCodePoints) continue;
    if (c >= char_ids_.size()) char_ids_.resize(c + 1, -1);
    char_ids_[c] = vocab.find(token);
  }
}

// The symbols of a word up to the next cut. At a cut they are merged and written, and the memory is reused.
// Only a long word without cuts needs memory in proportion to its length.
class Bpe::Stretch {
 public:
  Stretch(const Bpe& bpe, size_t word_bytes, uint64_t seed, Pieces& out)
      : symbols_(symbols_of_thread()),
        bpe_(bpe),
        cuts_(word_bytes > kShortWord && !bpe.joints_.empty()),
        seed_(seed),
        out_(out) {
    symbols_.clear();
  }
  // Appends a symbol of `size` bytes.
  void add(int32_t id, int32_t size) {
    if (cuts_ && !symbols_.empty() && !bpe_.may_join(symbols_.back().id, id)) merge();
    symbols_.push_back({id, position_, position_ + size, 0, 0});
    position_ += size;
  }
  // An unknown token stays open: it may take in the characters that follow.
  void add_unknown(int32_t id, int32_t size) {
    if (!bpe_.options_.fuse_unk) close_unknown();
    unknown_ = {id, unknown_.second + size};
  }
  void close_unknown() {
    if (unknown_.second > 0) add(unknown_.first, unknown_.second);
    unknown_ = {-1, 0};
  }
  void merge() {
    if (symbols_.size() <= kShortWord && bpe_.options_.dropout == 0)
      bpe_.merge_short(symbols_);
    else
      bpe_.merge_long(symbols_, seed_);
    for (const Symbol& s : symbols_)
      if (s.id >= 0) out_.push_back({s.id, s.begin, s.end});
    symbols_.clear();
  }

 private:
  static HugeArray<Symbol>& symbols_of_thread() {
    thread_local HugeArray<Symbol> symbols;
    return symbols;
  }
  HugeArray<Symbol>& symbols_;
  const Bpe& bpe_;
  const bool cuts_;  // false for a short word, which is merged whole
  uint64_t seed_;
  Pieces& out_;
  std::pair<int32_t, int32_t> unknown_{-1, 0};
  int32_t position_ = 0;
};

// A character without an id: bytes if the vocabulary has them, else the unknown token, else nothing.
void Bpe::add_unknown(std::string_view piece, int32_t size, Stretch& stretch) const {
  if (!byte_ids_.empty() && std::all_of(piece.begin(), piece.end(), [&](char c) {
        return byte_ids_[static_cast<unsigned char>(c)] >= 0;
      })) {
    for (const char c : piece) stretch.add(byte_ids_[static_cast<unsigned char>(c)], 1);
  } else if (unk_id_ >= 0) {
    stretch.add_unknown(unk_id_, size);
  }
}

void Bpe::add_symbols(std::string_view word, Stretch& stretch) const {
  std::string decorated;
  for (size_t pos = 0; pos < word.size();) {
    const size_t begin = pos;
    const char32_t c = next_char(word, pos);
    std::string_view piece = word.substr(begin, pos - begin);
    const auto size = static_cast<int32_t>(piece.size());
    const bool prefixed = begin > 0 && !options_.prefix.empty();
    const bool suffixed = pos >= word.size() && !options_.suffix.empty();
    int32_t id = -1;
    if (prefixed || suffixed) {
      decorated = (prefixed ? options_.prefix : "") + std::string(piece) + (suffixed ? options_.suffix : "");
      piece = decorated;
      id = vocab.find(piece);
    } else {
      id = find_character(c, piece);
    }
    if (id >= 0) {
      stretch.close_unknown();
      stretch.add(id, size);
    } else {
      add_unknown(piece, size, stretch);
    }
  }
  stretch.close_unknown();
}

void Bpe::tokenize(std::string_view word, Pieces& out) const {
  if (options_.ignore_merges) {
    if (const int32_t id = vocab.find(word); id >= 0) {
      out.push_back({id, 0, static_cast<int32_t>(word.size())});
      return;
    }
  }
  Stretch stretch(*this, word.size(), options_.dropout > 0 ? hash_bytes(word.data(), word.size()) : 0, out);
  add_symbols(word, stretch);
  stretch.merge();
}

void Bpe::tokenize_bytes(std::string_view bytes, Pieces& out) const {
  if (options_.ignore_merges) {
    if (const int32_t id = raw_.find(bytes); id >= 0) {
      out.push_back({id, 0, static_cast<int32_t>(bytes.size())});
      return;
    }
  }
  Stretch stretch(*this, bytes.size(), 0, out);
  for (const char c : bytes) stretch.add(alphabet_[static_cast<unsigned char>(c)], 1);
  stretch.merge();
}

// Merges the neighbouring pair of lowest rank until none is left. Symbols stay in place: a symbol that was
// merged into its left neighbour has no rank. The comparison key is the rank followed by the position. So the
// leftmost of equal ranks is taken, without a branch.
void Bpe::merge_short(std::span<Symbol> symbols) const {
  constexpr uint64_t kNoMerge = ~uint64_t{0};
  const size_t n = symbols.size();
  std::array<uint64_t, kShortWord> order;  // rank << 32 | position of a symbol with its right neighbour
  std::array<int32_t, kShortWord> merged;
  std::array<uint8_t, kShortWord> next, previous;
  const auto look_up = [&](size_t i) {
    const Merge* merge = next[i] < n ? find_merge(symbols[i].id, symbols[next[i]].id) : nullptr;
    order[i] = merge ? uint64_t{static_cast<uint32_t>(merge->rank)} << 32 | i : kNoMerge;
    merged[i] = merge ? merge->id : -1;
  };
  for (size_t i = 0; i < n; ++i) {
    next[i] = static_cast<uint8_t>(i + 1);
    previous[i] = static_cast<uint8_t>(i - 1);
    look_up(i);
  }
  for (;;) {
    uint64_t lowest = kNoMerge;
    for (size_t i = 0; i < n; ++i) lowest = std::min(lowest, order[i]);
    if (lowest == kNoMerge) break;
    const size_t left = lowest & 0xFF, right = next[left];
    symbols[left].id = merged[left];
    symbols[left].end = symbols[right].end;
    symbols[right].id = -1;
    order[right] = kNoMerge;
    next[left] = next[right];
    if (next[left] < n) previous[next[left]] = static_cast<uint8_t>(left);
    look_up(left);
    if (left > 0) look_up(previous[left]);
  }
}

namespace {

// Candidate merges of one rank: positions, leftmost first. They are a list while they are added in order, and
// a heap after the first one that is not.
class Bucket {
 public:
  bool empty() const { return head_ == positions_.size(); }
  void push(int32_t position) {
    if (!is_heap_ && !empty() && position < positions_.back()) {
      positions_.erase(positions_.begin(), positions_.begin() + static_cast<std::ptrdiff_t>(head_));
      head_ = 0;
      is_heap_ = true;
      std::make_heap(positions_.begin(), positions_.end(), std::greater<>());
    }
    positions_.push_back(position);
    if (is_heap_) std::push_heap(positions_.begin(), positions_.end(), std::greater<>());
  }
  int32_t pop() {
    if (!is_heap_) return positions_[head_++];
    std::pop_heap(positions_.begin(), positions_.end(), std::greater<>());
    const int32_t position = positions_.back();
    positions_.pop_back();
    return position;
  }
  int32_t rank = 0, id = 0;

 private:
  HugeArray<int32_t> positions_;
  size_t head_ = 0;
  bool is_heap_ = false;
};

// All candidates: lowest rank first, leftmost first within a rank.
class Candidates {
 public:
  bool empty() const { return ranks_.empty(); }
  void push(int32_t rank, int32_t position, int32_t id) {
    const auto [it, is_new] = by_rank_.emplace(rank, static_cast<int32_t>(buckets_.size()));
    if (is_new) {
      buckets_.emplace_back();
      buckets_.back().rank = rank;
      buckets_.back().id = id;
    }
    Bucket& bucket = buckets_[static_cast<size_t>(it->second)];
    if (bucket.empty()) ranks_.push({rank, it->second});
    bucket.push(position);
  }
  // Removes the next candidate.
  void pop(int32_t& rank, int32_t& position, int32_t& id) {
    Bucket& bucket = buckets_[static_cast<size_t>(ranks_.top().second)];
    rank = bucket.rank;
    id = bucket.id;
    position = bucket.pop();
    if (bucket.empty()) ranks_.pop();
  }

 private:
  std::vector<Bucket> buckets_;
  std::unordered_map<int32_t, int32_t> by_rank_;
  using Rank = std::pair<int32_t, int32_t>;
  std::priority_queue<Rank, std::vector<Rank>, std::greater<>> ranks_;
};

}  // namespace

// Candidates by rank; stale ones are skipped. The candidates of one rank are mostly in order, so that the
// time is almost linear in the length of the word.
void Bpe::merge_long(std::span<Symbol> symbols, uint64_t seed) const {
  struct Skipped {
    int32_t rank, position, id;
  };
  const auto n = static_cast<int32_t>(symbols.size());
  Candidates candidates;
  const auto offer = [&](int32_t left) {
    const int32_t right = symbols[left].next;
    if (right < 0) return;
    if (const Merge* merge = find_merge(symbols[left].id, symbols[right].id))
      candidates.push(merge->rank, left, merge->id);
  };
  for (int32_t i = 0; i < n; ++i) {
    symbols[i].previous = i - 1;
    symbols[i].next = i + 1 < n ? i + 1 : -1;
  }
  for (int32_t i = 0; i < n; ++i) offer(i);
  PhiloxStream random(philox_key(seed, 0, "bpe_dropout"));
  std::vector<Skipped> skipped;
  while (!candidates.empty()) {
    Skipped top;
    candidates.pop(top.rank, top.position, top.id);
    if (options_.dropout > 0 && random.uniform() < options_.dropout) {
      skipped.push_back(top);
      continue;
    }
    for (const Skipped& s : skipped) candidates.push(s.rank, s.position, s.id);
    skipped.clear();
    Symbol& left = symbols[top.position];
    if (left.id < 0 || left.next < 0) continue;
    Symbol& right = symbols[left.next];
    const Merge* merge = find_merge(left.id, right.id);
    if (!merge || merge->id != top.id) continue;
    left.id = top.id;
    left.end = right.end;
    right.id = -1;
    left.next = right.next;
    if (left.next >= 0) symbols[left.next].previous = top.position;
    if (left.previous >= 0) offer(left.previous);
    offer(top.position);
  }
}

std::unique_ptr<Bpe> make_bpe(Vocab vocab, const Bpe::Merges& merges, const BpeOptions& options,
                              const std::string& where) {
  return std::make_unique<Bpe>(std::move(vocab), merges, options, where);
}

}  // namespace graft::text
