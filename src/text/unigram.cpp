// Unigram language model (Kudo 2018): the segmentation with the highest sum of scores, by Viterbi.
#include <algorithm>
#include <limits>

#include "base/error.h"
#include "text/model.h"
#include "text/trie.h"
#include "text/unicode.h"

namespace graft::text {
namespace {

constexpr double kUnkPenalty = 10.0;  // sentencepiece's

class Unigram : public Model {
 public:
  Unigram(Vocab v, std::vector<double> scores, const UnigramOptions& options, const std::string& where)
      : scores_(std::move(scores)), unk_id_(options.unk_id) {
    vocab = std::move(v);
    if (unk_id_ >= vocab.end_id())
      fail("{}: unk_id {} is beyond the vocabulary of {} pieces", where, unk_id_, vocab.end_id());
    if (options.byte_fallback) byte_ids_ = byte_fallback_ids(vocab);
    size_t bytes = 0;
    double min_score = std::numeric_limits<double>::infinity();
    for (int32_t id = 0; id < vocab.end_id(); ++id) {
      bytes += vocab.token(id).size();
      min_score = std::min(min_score, scores_[id]);
    }
    unk_score_ = min_score - kUnkPenalty;
    TrieBuilder builder;
    builder.reserve(bytes / 2);
    for (int32_t id = 0; id < vocab.end_id(); ++id)
      if (vocab.has(id) && !vocab.token(id).empty()) builder.add(vocab.token(id), id);
    trie_ = builder.build();
  }

  void tokenize(std::string_view word, std::vector<Piece>& out) const override {
    thread_local HugeArray<Node> best;
    best.assign(word.size() + 1, Node{});
    fill(word, best);
    backtrack(word, best, out);
  }

  std::string kind() const override { return "Unigram"; }

 private:
  // The best way to reach a position: its score, where its last piece starts (-1: not reached), that piece.
  struct Node {
    double score = 0;
    int32_t begin = -1, id = 0;
  };

  void fill(std::string_view word, HugeArray<Node>& best) const {
    const auto size = static_cast<int32_t>(word.size());
    for (int32_t begin = 0; begin < size;) {
      const double here = best[begin].score;
      const int32_t char_end = begin + sequence_length(word[begin]);
      bool has_single = false;
      uint32_t node = Trie::kRoot;
      for (int32_t i = begin; i < size; ++i) {
        node = trie_.next(node, static_cast<unsigned char>(word[i]));
        if (node == Trie::kNone) break;
        const int32_t id = trie_.value(node);
        if (id < 0) continue;
        relax(best[i + 1], here + scores_[id], begin, id);
        has_single |= i + 1 == char_end;
      }
      if (!has_single) {
        if (unk_id_ < 0) fail("the text has a character that no piece covers, and the model names no unk_id");
        relax(best[char_end], here + unk_score_, begin, unk_id_);
      }
      begin = char_end;
    }
  }

  static void relax(Node& node, double score, int32_t begin, int32_t id) {
    if (node.begin < 0 || score > node.score) node = {score, begin, id};
  }

  // Neighbouring unknown characters become one piece.
  void backtrack(std::string_view word, const HugeArray<Node>& best, std::vector<Piece>& out) const {
    const size_t first = out.size();
    bool fusing = false;
    for (auto end = static_cast<int32_t>(word.size()); end > 0; end = best[end].begin) {
      const Node& node = best[end];
      const bool unknown = node.id == unk_id_;
      if (unknown && fusing)
        out.back().begin = node.begin;
      else
        out.push_back({node.id, node.begin, end});
      fusing = unknown;
    }
    std::reverse(out.begin() + static_cast<std::ptrdiff_t>(first), out.end());
    if (!byte_ids_.empty()) fall_back_to_bytes(word, first, out);
  }

  void fall_back_to_bytes(std::string_view word, size_t first, std::vector<Piece>& out) const {
    for (size_t i = first; i < out.size(); ++i) {
      const Piece piece = out[i];
      if (piece.id != unk_id_) continue;
      std::vector<Piece> bytes;
      for (int32_t k = piece.begin; k < piece.end; ++k) {
        const int32_t id = byte_ids_[static_cast<unsigned char>(word[k])];
        if (id < 0) break;
        bytes.push_back({id, piece.begin, piece.end});
      }
      if (bytes.size() != static_cast<size_t>(piece.end - piece.begin)) continue;
      out.erase(out.begin() + static_cast<std::ptrdiff_t>(i));
      out.insert(out.begin() + static_cast<std::ptrdiff_t>(i), bytes.begin(), bytes.end());
      i += bytes.size() - 1;
    }
  }

  Trie trie_;
  std::vector<double> scores_;
  std::vector<int32_t> byte_ids_;
  double unk_score_ = 0;
  int32_t unk_id_;
};

}  // namespace

std::unique_ptr<Model> make_unigram(Vocab vocab, std::vector<double> scores, const UnigramOptions& options,
                                    const std::string& where) {
  return std::make_unique<Unigram>(std::move(vocab), std::move(scores), options, where);
}

}  // namespace graft::text
