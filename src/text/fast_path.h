// The fast way through a tokenizer: where the components allow it, a text is cut into chunks that can be
// tokenized one by one, and what a chunk becomes is remembered. The general way (file_tokenizer.cpp) gives
// the same tokens.
#pragma once
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "text/bpe.h"
#include "text/huge_array.h"
#include "text/model.h"
#include "text/pre_tokenizer.h"

namespace graft::text {

struct TokenizerParts;

// What a short chunk becomes, in one cache line.
struct alignas(64) CachedChunk {
  static constexpr size_t kMaxBytes = 24, kMaxTokens = 6, kMaxWords = 8;
  uint64_t key[3];
  uint8_t size;  // bytes of the key; 0: free
  uint8_t num_tokens, num_words, num_chars;
  int32_t ids[kMaxTokens];
  uint8_t begin[kMaxTokens];  // code points from the chunk's start; the upper three bits count words
  uint8_t end[kMaxTokens];
};
static_assert(sizeof(CachedChunk) == 64);

// A token of a chunk: code points and word from the chunk's start.
struct ChunkToken {
  int32_t id, begin, end, word;
};

// The tokens of one sequence, without special ones around it.
struct SequenceTokens {
  std::vector<int32_t> ids;
  std::vector<std::pair<int32_t, int32_t>> offsets;  // bytes first, code points at the end of encoding
  std::vector<int32_t> words;
  int32_t num_words = 0;
  bool has_prefix_space = false;  // every word got a space in front
  size_t max_tokens = SIZE_MAX;   // no further word once there are as many
  bool is_full() const { return ids.size() >= max_tokens; }
  // Empty again; the memory stays unless a very long text left a lot.
  void clear() {
    constexpr size_t kKeep = 4 << 20;
    if (ids.capacity() > kKeep) *this = {};
    ids.clear();
    offsets.clear();
    words.clear();
    num_words = 0;
    max_tokens = SIZE_MAX;
    has_prefix_space = false;
  }
};

// One thread's working memory.
struct Scratch {
  HugeArray<CachedChunk> cache;
  PreTokenized cut;
  std::string word;
  std::vector<Piece> pieces;
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
  // number of code points (0 when no offsets are wanted).
  int32_t encode(std::string_view section, bool offsets, int32_t first_char, Scratch& scratch,
                 SequenceTokens& out) const;

 private:
  enum class Cut { bert, gpt2, spaces };
  class Writer;
  explicit FastPath(const TokenizerParts& parts) : parts_(parts) {}
  static constexpr size_t kLookAhead = 16;
  struct Pending {
    size_t begin, size, slot;
    uint64_t key[3];
    int32_t gap;  // skipped characters before the chunk
  };
  size_t look_ahead(std::string_view section, size_t& pos, const Scratch& scratch, Pending* pending) const;
  void encode_chunk(std::string_view chunk, const Pending& pending, Scratch& scratch, Writer& writer) const;
  bool set_up();
  void set_up_ascii();
  size_t chunk_end(std::string_view text, size_t pos) const;
  size_t bert_chunk_end(std::string_view text, size_t pos) const;
  size_t spaces_chunk_end(std::string_view text, size_t pos) const;
  void tokenize(std::string_view chunk, Scratch& scratch, int32_t& num_words) const;
  void tokenize_generic(std::string_view chunk, Scratch& scratch, int32_t& num_words) const;
  bool tokenize_ascii(std::string_view chunk, Scratch& scratch, int32_t& num_words) const;
  void tokenize_bytes(std::string_view chunk, Scratch& scratch, int32_t& num_words) const;

  const TokenizerParts& parts_;
  Cut cut_ = Cut::spaces;
  const Bpe* bpe_ = nullptr;
  bool needs_nfc_ = false, isolates_chinese_ = true, prepends_ = false;
  char ascii_map_[128] = {};  // what the normalizer makes of a character, 0: not one plain character
};

// Scratch memory that threads borrow.
class ScratchPool {
 public:
  class Lease {
   public:
    explicit Lease(ScratchPool& pool);
    ~Lease();
    Lease(const Lease&) = delete;
    Scratch& operator*() { return *scratch_; }
    Scratch* operator->() { return scratch_.get(); }

   private:
    ScratchPool& pool_;
    std::unique_ptr<Scratch> scratch_;
  };
  void clear();  // after the tokenizer changed

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<Scratch>> free_;
};

// End of GPT-2's word at text[pos]; as gpt2_word_end, quick on ASCII.
size_t gpt2_word_end_ascii(std::string_view text, size_t pos);

}  // namespace graft::text
