// The fast path of a tokenizer. If the components allow it, a text is cut into chunks that are tokenized one
// by one, and the tokens of each chunk are cached. The general path (file_tokenizer.cpp) gives the same
// tokens.
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

// The bytes of a short chunk, padded with zeros; the last byte is their number. All 0: no chunk.
struct ChunkKey {
  uint64_t a, b, c;
  bool operator==(const ChunkKey& k) const { return ((a ^ k.a) | (b ^ k.b) | (c ^ k.c)) == 0; }
};

// A short chunk and its tokens, in one cache line.
struct alignas(64) CachedChunk {
  static constexpr size_t kMaxBytes = 23, kMaxTokens = 6, kMaxWords = 8;
  ChunkKey key;
  uint8_t num_tokens, num_words, num_chars;
  uint8_t second;  // in the first entry of a pair: a few bits of the second entry's hash
  int32_t ids[kMaxTokens];
  uint8_t begin[kMaxTokens];  // code points from the chunk's start; the upper three bits count words
  uint8_t end[kMaxTokens];

  bool is_free() const { return key.c == 0; }
};
static_assert(sizeof(CachedChunk) == 64);

// A token of a chunk. Code points and words are counted from the chunk's start.
struct ChunkToken {
  int32_t id, begin, end, word;
};

// The tokens of one sequence, without special ones around it.
struct SequenceTokens {
  HugeArray<int32_t> ids;
  HugeArray<std::pair<int32_t, int32_t>> offsets;  // in bytes while encoding, then in code points
  HugeArray<int32_t> words;
  int32_t num_words = 0;
  bool has_prefix_space = false;  // every word got a space in front
  size_t max_tokens = SIZE_MAX;   // encoding stops after the word that reaches this number
  bool is_full() const { return ids.size() >= max_tokens; }
  // Removes all tokens. The memory is kept unless a very long text made it large.
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

// The working memory of one thread, on separate cache lines.
struct alignas(128) Scratch {
  HugeArray<CachedChunk> cache;  // pairs of entries
  ChunkCutter cutter;
  PreTokenized cut;
  std::string word;
  Pieces pieces;
  std::vector<ChunkToken> tokens;
  SequenceTokens first, second;  // of the texts that are being encoded
};

class FastPath {
 public:
  // nullptr if the result of a component depends on more than one chunk.
  static std::unique_ptr<FastPath> make(const TokenizerParts& parts);

  // True if the fast path can encode this stretch (some normalizers must leave it unchanged).
  bool accepts(std::string_view section) const;
  // Encodes a whole stretch between added tokens; `first_char` is its position in code points. Returns its
  // number of code points (undefined without offsets).
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
  char ascii_map_[128] = {};  // the normalized character; 0: not a single ASCII character
};

// A lock-free pool of scratch memory. A thread gets the memory that it used before, if it is free, because
// that memory is in the caches of the thread's core. A single list behind a mutex is slower: threads exchange
// their memory text by text and wait for the lock.
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
  void clear();  // call after a change of the tokenizer

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
