// Models of tokenizer.json: they cut a word into pieces with ids.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "text/huge_array.h"
#include "text/vocab.h"

namespace graft::text {

// [begin, end): bytes of the word.
struct Piece {
  int32_t id, begin, end;
};
using Pieces = HugeArray<Piece>;  // large for a long word: see huge_array.h

class Model {
 public:
  virtual ~Model() = default;
  // Appends the pieces of `word` (valid UTF-8, not empty) to `out`.
  virtual void tokenize(std::string_view word, Pieces& out) const = 0;
  virtual std::string kind() const = 0;
  // False if calls with the same word may give different pieces (BPE dropout).
  virtual bool is_cacheable() const { return true; }

  Vocab vocab;
};

struct WordPieceOptions {
  std::string unk_token = "[UNK]", prefix = "##";
  int32_t max_chars = 100;
};
std::unique_ptr<Model> make_wordpiece(Vocab vocab, const WordPieceOptions& options, const std::string& where);

// One token per word; other words are the unknown token.
std::unique_ptr<Model> make_wordlevel(Vocab vocab, const std::string& unk_token, const std::string& where);

struct UnigramOptions {
  int32_t unk_id = -1;
  bool byte_fallback = false;
};
std::unique_ptr<Model> make_unigram(Vocab vocab, std::vector<double> scores, const UnigramOptions& options,
                                    const std::string& where);

struct BpeOptions {
  std::string unk_token, prefix, suffix;  // empty: none
  bool fuse_unk = false, byte_fallback = false, ignore_merges = false;
  double dropout = 0;
};
class Bpe;
std::unique_ptr<Bpe> make_bpe(Vocab vocab,
                              const std::vector<std::pair<std::string_view, std::string_view>>& merges,
                              const BpeOptions& options, const std::string& where);

// The ids of <0x00> ... <0xFF>, -1 where one is missing.
std::vector<int32_t> byte_fallback_ids(const Vocab& vocab);

}  // namespace graft::text
