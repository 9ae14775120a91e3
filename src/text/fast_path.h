// The fast way through a tokenizer: where the components allow it, a text is cut into chunks that can be
// tokenized one by one, and what a chunk becomes is remembered. The general way (file_tokenizer.cpp) gives
// the same tokens.
#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "text/bpe.h"
#include "text/chunk_cutter.h"
#include "text/huge_array.h"
#include "text/model.h"
#include "text/pre_tokenizer.h"

namespace graft::text {

struct TokenizerParts;

// The bytes of a short chunk, zeros behind them, and as the last byte their number; all 0: none.
struct ChunkKey {
  uint64_t a, b, c;
  bool operator==(const ChunkKey& k) const { return ((a ^ k.a) | (b ^ k.b) | (c ^ k.c)) == 0; }
};

// What a short chunk becomes, in one cache line.
struct alignas(64) CachedChunk {
  static constexpr size_t kMaxBytes = 23, kMaxTokens = 6, kMaxWords = 8;
  ChunkKey key;
  uint8_t num_tokens, num_words, num_chars;
  uint8_t second;  // of the first of a pair: a few bits of the second's hash
  int32_t ids[kMaxTokens];
  uint8_t begin[kMaxTokens];  // code points from the chunk's start; the upper three bits count words
  uint8_t end[kMaxTokens];

  bool is_free() const { return key.c == 0; }
};
static_assert(sizeof(CachedChunk) == 64);

// A token of a chunk: code points and word from the chunk's start.
struct ChunkToken {
  int32_t id, begin, end, word;
};

// The tokens of one sequence, without special ones around it.
struct SequenceTokens {
  HugeArray<int32_t> ids;
  HugeArray<std::pair<int32_t, int32_t>> offsets;  // bytes first, code points at the end of encoding
  HugeArray<int32_t> words;
  int32_t num_words = 0;
  bool has_prefix_space = false;  // every word got a space in front
  size_t max_tokens = SIZE_MAX;   // no further word once there are as many
  bool is_full() const { return ids.size() >= max_tokens; }
  // Empty again; the memory stays unless a very long text left a lot.
  void clear() {
    constexpr size_t kKeep = 8 << 20;
    if (ids.capacity() > kKeep) *this = {};
    ids.clear();
    offsets.clear();
    words.clear();
    num_words = 0;
    max_tokens = SIZE_MAX;
    has_prefix_space = false;
  }
};

// One thread's working memory, on cache lines of its own.
struct alignas(128) Scratch {
  HugeArray<CachedChunk> cache;  // pairs of places
  ChunkCutter cutter;
  PreTokenized cut;
  std::string word;
  Pieces pieces;
  std::vector<ChunkToken> tokens;
  SequenceTokens first, second;  // of the texts that are being encoded
};

class FastPath {
 public:
  // nullptr where the components' results depend on more than a chunk.
  static std::unique_ptr<FastPath> make(const TokenizerParts& parts);

  // Whether this stretch may go this way (some normalizers must leave it unchanged).
  bool accepts(std::string_view section) const;
  // Encodes a whole stretch between added tokens; `first_char` is its position in code points. Returns its
  // number of code points (of no use when no offsets are wanted).
  int32_t encode(std::string_view section, bool offsets, int32_t first_char, Scratch& scratch,
                 SequenceTokens& out) const;

 private:
  using Rule = ChunkCutter::Rule;
  template <bool offsets>
  class Writer;
  explicit FastPath(const TokenizerParts& parts) : parts_(parts) {}
  template <bool offsets>
  int32_t encode_chunks(std::string_view section, int32_t first_char, Scratch& scratch,
                        SequenceTokens& out) const;
  template <bool offsets>
  void encode_chunk(std::string_view chunk, const ChunkKey& key, CachedChunk* pair, Scratch& scratch,
                    Writer<offsets>& writer) const;
  static void remember(const ChunkKey& key, std::string_view chunk, int32_t num_words, Scratch& scratch,
                       CachedChunk* pair);
  bool set_up();
  void set_up_ascii();
  void tokenize(std::string_view chunk, Scratch& scratch, int32_t& num_words) const;
  void tokenize_generic(std::string_view chunk, Scratch& scratch, int32_t& num_words) const;
  bool tokenize_ascii(std::string_view chunk, Scratch& scratch, int32_t& num_words) const;
  void tokenize_bytes(std::string_view chunk, Scratch& scratch, int32_t& num_words) const;

  const TokenizerParts& parts_;
  Rule rule_ = Rule::spaces;
  const Bpe* bpe_ = nullptr;
  bool needs_nfc_ = false, isolates_chinese_ = true, prepends_ = false;
  char ascii_map_[128] = {};  // what the normalizer makes of a character, 0: not one plain character
};

// Scratch memory that threads borrow, without a lock, and each its own again if it can: what it remembers
// lies in the caches of that thread's core. (With one list behind a mutex two threads were now and then no
// faster than one: they swapped theirs text by text, or slept for the lock.)
class ScratchPool {
 public:
  ScratchPool() = default;
  ~ScratchPool();
  ScratchPool(const ScratchPool&) = delete;
  ScratchPool& operator=(const ScratchPool&) = delete;

  class Lease {
   public:
    explicit Lease(ScratchPool& pool);
    ~Lease();
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    Scratch& operator*() { return *scratch_; }
    Scratch* operator->() { return scratch_; }

   private:
    ScratchPool& pool_;
    Scratch* scratch_;
  };
  void clear();  // after the tokenizer changed

 private:
  static constexpr size_t kPlaces = 64;
  struct alignas(128) Place {
    std::atomic<Scratch*> free{nullptr};
  };
  static size_t place_of_thread();
  void drop(Scratch* scratch);

  std::array<Place, kPlaces> places_;
  std::atomic<int> made_{0};
};

}  // namespace graft::text
