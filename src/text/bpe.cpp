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

// Words up to this many symbols are merged by scanning, longer ones through a heap.
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
  mask_ = slots - 1;
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

// A character without an id: bytes if the vocabulary has them, else the unknown token, else nothing at all.
bool Bpe::add_unknown(std::string_view piece, int32_t size, HugeArray<Symbol>& symbols,
                      std::pair<int32_t, int32_t>& unk, int32_t& position) const {
  if (!byte_ids_.empty() && std::all_of(piece.begin(), piece.end(), [&](char c) {
        return byte_ids_[static_cast<unsigned char>(c)] >= 0;
      })) {
    for (const char c : piece) {
      symbols.push_back({byte_ids_[static_cast<unsigned char>(c)], position, position + 1, 0, 0});
      ++position;
    }
    return true;
  }
  if (unk_id_ < 0) return false;
  if (unk.first >= 0 && !options_.fuse_unk) {
    symbols.push_back({unk.first, position, position + unk.second, 0, 0});
    position += unk.second;
    unk = {-1, 0};
  }
  unk = {unk_id_, (unk.first >= 0 ? unk.second : 0) + size};
  return true;
}

void Bpe::make_symbols(std::string_view word, HugeArray<Symbol>& symbols) const {
  std::string decorated;
  std::pair<int32_t, int32_t> unk{-1, 0};  // a pending unknown token and its bytes
  int32_t position = 0;
  const auto flush = [&] {
    if (unk.first < 0) return;
    symbols.push_back({unk.first, position, position + unk.second, 0, 0});
    position += unk.second;
    unk = {-1, 0};
  };
  for (size_t pos = 0; pos < word.size();) {
    const size_t begin = pos;
    pos += sequence_length(word[pos]);
    std::string_view piece = word.substr(begin, pos - begin);
    const auto size = static_cast<int32_t>(piece.size());
    const bool prefixed = begin > 0 && !options_.prefix.empty();
    const bool suffixed = pos >= word.size() && !options_.suffix.empty();
    if (prefixed || suffixed) {
      decorated = (prefixed ? options_.prefix : "") + std::string(piece) + (suffixed ? options_.suffix : "");
      piece = decorated;
    }
    if (const int32_t id = vocab.find(piece); id >= 0) {
      flush();
      symbols.push_back({id, position, position + size, 0, 0});
      position += size;
    } else {
      add_unknown(piece, size, symbols, unk, position);
    }
  }
  flush();
}

void Bpe::tokenize(std::string_view word, std::vector<Piece>& out) const {
  if (options_.ignore_merges) {
    if (const int32_t id = vocab.find(word); id >= 0) {
      out.push_back({id, 0, static_cast<int32_t>(word.size())});
      return;
    }
  }
  thread_local HugeArray<Symbol> symbols;
  symbols.clear();
  make_symbols(word, symbols);
  merge_all(symbols, options_.dropout > 0 ? hash_bytes(word.data(), word.size()) : 0, out);
}

void Bpe::tokenize_bytes(std::string_view bytes, std::vector<Piece>& out) const {
  if (options_.ignore_merges) {
    if (const int32_t id = raw_.find(bytes); id >= 0) {
      out.push_back({id, 0, static_cast<int32_t>(bytes.size())});
      return;
    }
  }
  thread_local HugeArray<Symbol> symbols;
  symbols.clear();
  for (size_t i = 0; i < bytes.size(); ++i) {
    const auto at = static_cast<int32_t>(i);
    symbols.push_back({alphabet_[static_cast<unsigned char>(bytes[i])], at, at + 1, 0, 0});
  }
  merge_all(symbols, 0, out);
}

void Bpe::merge_all(HugeArray<Symbol>& symbols, uint64_t seed, std::vector<Piece>& out) const {
  if (symbols.size() <= kShortWord && options_.dropout == 0)
    merge_short(symbols);
  else
    merge_long(symbols, seed);
  for (const Symbol& s : symbols)
    if (s.id >= 0) out.push_back({s.id, s.begin, s.end});
}

// The lowest rank of all neighbouring pairs is merged until none is left. Nothing moves: a symbol that went
// into its left neighbour keeps its place with no rank. What is compared is the rank with the position behind
// it, so that the leftmost of equals wins and no branch hangs on the outcome.
void Bpe::merge_short(HugeArray<Symbol>& symbols) const {
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

// Candidate merges of one rank: positions, leftmost first. They come mostly in order and are then a plain
// list; once one does not, what is left becomes a heap.
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

// All candidates: the lowest rank first, within it the leftmost.
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
  // Takes the next candidate.
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

// Candidates by rank; stale ones are recognised and dropped. Sweeps over a long word stay in order, so that
// this is close to linear.
void Bpe::merge_long(HugeArray<Symbol>& symbols, uint64_t seed) const {
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
