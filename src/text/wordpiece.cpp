// WordPiece (Schuster and Nakajima 2012): the longest matching piece, from left to right.
#include "base/error.h"
#include "text/model.h"
#include "text/trie.h"
#include "text/unicode.h"

namespace graft::text {
namespace {

class WordPiece : public Model {
 public:
  WordPiece(Vocab v, const WordPieceOptions& options, const std::string& where)
      : max_chars_(options.max_chars) {
    vocab = std::move(v);
    unk_id_ = vocab.find(options.unk_token);
    if (unk_id_ < 0) fail("{}: the unknown token {:?} is not in the vocabulary", where, options.unk_token);
    TrieBuilder starts, rest;
    starts.reserve(vocab.size(), vocab.num_bytes());
    for (int32_t id = 0; id < vocab.end_id(); ++id) {
      if (!vocab.has(id) || (vocab.has_duplicates() && vocab.find(vocab.token(id)) != id)) continue;
      const std::string_view token = vocab.token(id);
      starts.add(token, id);
      if (token.size() > options.prefix.size() && token.substr(0, options.prefix.size()) == options.prefix)
        rest.add(token.substr(options.prefix.size()), id);
    }
    starts_ = starts.build();
    rest_ = rest.build();
  }

  void tokenize(std::string_view word, Pieces& out) const override {
    const size_t first = out.size();
    const auto size = static_cast<int32_t>(word.size());
    if (word.size() > static_cast<size_t>(max_chars_) &&
        count_chars(word) > static_cast<size_t>(max_chars_)) {
      out.push_back({unk_id_, 0, size});
      return;
    }
    const Trie* trie = &starts_;
    for (int32_t begin = 0; begin < size; trie = &rest_) {
      uint32_t node = Trie::kRoot;
      int32_t end = begin, id = -1;
      for (int32_t i = begin; i < size; ++i) {
        node = trie->next(node, static_cast<unsigned char>(word[i]));
        if (node == Trie::kNone) break;
        if (const int32_t value = trie->value(node); value >= 0) {
          id = value;
          end = i + 1;
        }
      }
      if (id < 0) {
        out.resize(first);
        out.push_back({unk_id_, 0, size});
        return;
      }
      out.push_back({id, begin, end});
      begin = end;
    }
  }

  std::string kind() const override { return "WordPiece"; }

 private:
  Trie starts_, rest_;
  int32_t unk_id_ = -1, max_chars_;
};

class WordLevel : public Model {
 public:
  WordLevel(Vocab v, const std::string& unk_token) {
    vocab = std::move(v);
    unk_id_ = vocab.find(unk_token);
  }
  void tokenize(std::string_view word, Pieces& out) const override {
    int32_t id = vocab.find(word);
    if (id < 0) id = unk_id_;
    if (id < 0) fail("the word {:?} is not in the vocabulary, which has no unknown token", std::string(word));
    out.push_back({id, 0, static_cast<int32_t>(word.size())});
  }
  std::string kind() const override { return "WordLevel"; }

 private:
  int32_t unk_id_ = -1;
};

}  // namespace

std::unique_ptr<Model> make_wordpiece(Vocab vocab, const WordPieceOptions& options,
                                      const std::string& where) {
  return std::make_unique<WordPiece>(std::move(vocab), options, where);
}

std::unique_ptr<Model> make_wordlevel(Vocab vocab, const std::string& unk_token, const std::string&) {
  return std::make_unique<WordLevel>(std::move(vocab), unk_token);
}

std::vector<int32_t> byte_fallback_ids(const Vocab& vocab) {
  std::vector<int32_t> ids(256);
  for (int b = 0; b < 256; ++b) ids[b] = vocab.find(fmt::format("<0x{:02X}>", b));
  return ids;
}

}  // namespace graft::text
