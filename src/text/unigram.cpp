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
    double min_score = std::numeric_limits<double>::infinity();
    for (int32_t id = 0; id < vocab.end_id(); ++id) min_score = std::min(min_score, scores_[id]);
    unk_score_ = min_score - kUnkPenalty;
    TrieBuilder builder;
    builder.reserve(vocab.size(), vocab.num_bytes());
    for (int32_t id = 0; id < vocab.end_id(); ++id)
      if (vocab.has(id) && !vocab.token(id).empty()) builder.add(vocab.token(id), id);
    trie_ = builder.build();
    longest_ = static_cast<int32_t>(std::max<size_t>(vocab.max_token_bytes(), 4));
  }

  // Of a long word only a stretch is in memory: a position that no piece spans is on every path, so that the
  // best path up to it is final.
  void tokenize(std::string_view word, Pieces& out) const override {
    thread_local HugeArray<Node> best;
    const auto size = static_cast<int32_t>(word.size());
    const size_t first = out.size();
    best.assign(static_cast<size_t>(std::min(size, kStretch + longest_)) + 1, Node{});
    int32_t base = 0, reach = 0;  // start of the stretch; furthest end of a piece
    for (int32_t begin = 0; begin < size; begin += sequence_length(word[begin])) {
      if (begin - base >= kStretch) {
        if (begin == reach) {
          const Node end = best[begin - base];
          backtrack(best, base, begin, first, out);
          std::fill_n(best.begin(), begin - base + 1, Node{});
          best[0].score = end.score;
          base = begin;
        } else if (const auto room = static_cast<size_t>(begin - base + longest_) + 1; room > best.size()) {
          best.resize(2 * room);
        }
      }
      reach = std::max(reach, relax_from(word, begin, &best[begin - base]));
    }
    backtrack(best, base, size, first, out);
    if (!byte_ids_.empty()) fall_back_to_bytes(word, first, out);
  }

  std::string kind() const override { return "Unigram"; }

 private:
  // The best path to a position: its score, the start of its last piece (-1: not reached), that piece.
  struct Node {
    double score = 0;
    int32_t begin = -1, id = 0;
  };

  // Adds all pieces that start at `begin`, whose node is nodes[0]; returns the furthest end.
  int32_t relax_from(std::string_view word, int32_t begin, Node* nodes) const {
    const auto size = static_cast<int32_t>(word.size());
    const double here = nodes[0].score;
    const int32_t char_end = begin + sequence_length(word[begin]);
    int32_t reach = char_end;
    bool has_single = false;
    uint32_t node = Trie::kRoot;
    for (int32_t i = begin; i < size; ++i) {
      node = trie_.next(node, static_cast<unsigned char>(word[i]));
      if (node == Trie::kNone) break;
      const int32_t id = trie_.value(node);
      if (id < 0) continue;
      relax(nodes[i + 1 - begin], here + scores_[id], begin, id);
      has_single |= i + 1 == char_end;
      reach = std::max(reach, i + 1);
    }
    if (!has_single) {
      if (unk_id_ < 0) fail("the text has a character without a piece, and the model has no unk_id");
      relax(nodes[char_end - begin], here + unk_score_, begin, unk_id_);
    }
    return reach;
  }

  static void relax(Node& node, double score, int32_t begin, int32_t id) {
    if (node.begin < 0 || score > node.score) node = {score, begin, id};
  }

  // Appends the best path from `base` to `end` to the word's pieces, which begin at `first`. Neighbouring
  // unknown characters become one piece.
  void backtrack(const HugeArray<Node>& best, int32_t base, int32_t end, size_t first, Pieces& out) const {
    const size_t settled = out.size();
    bool fusing = false;
    while (end > base) {
      const Node& node = best[end - base];
      const bool unknown = node.id == unk_id_;
      if (unknown && fusing)
        out.back().begin = node.begin;
      else
        out.push_back({node.id, node.begin, end});
      fusing = unknown;
      end = node.begin;
    }
    std::reverse(out.begin() + static_cast<std::ptrdiff_t>(settled), out.end());
    if (settled == first || settled == out.size()) return;
    Piece& before = out[settled - 1];
    if (before.id != unk_id_ || out[settled].id != unk_id_) return;
    before.end = out[settled].end;
    out.erase(out.begin() + static_cast<std::ptrdiff_t>(settled));
  }

  // Replaces unknown pieces by bytes if every byte has a token.
  void fall_back_to_bytes(std::string_view word, size_t first, Pieces& out) const {
    const auto has_token = [&](char c) { return byte_ids_[static_cast<unsigned char>(c)] >= 0; };
    const auto begin = out.begin() + static_cast<std::ptrdiff_t>(first);
    if (std::none_of(begin, out.end(), [&](const Piece& p) { return p.id == unk_id_; })) return;
    const std::vector<Piece> pieces(begin, out.end());
    out.resize(first);
    for (const Piece& piece : pieces) {
      const std::string_view bytes = word.substr(piece.begin, piece.end - piece.begin);
      if (piece.id != unk_id_ || !std::all_of(bytes.begin(), bytes.end(), has_token)) {
        out.push_back(piece);
        continue;
      }
      for (const char c : bytes)
        out.push_back({byte_ids_[static_cast<unsigned char>(c)], piece.begin, piece.end});
    }
  }

  static constexpr int32_t kStretch = 4096;  // bytes; the nodes of one stretch fit into the L2 cache
  Trie trie_;
  std::vector<double> scores_;
  std::vector<int32_t> byte_ids_;
  double unk_score_ = 0;
  int32_t unk_id_, longest_ = 0;  // longest_: bytes of the longest piece
};

}  // namespace

std::unique_ptr<Model> make_unigram(Vocab vocab, std::vector<double> scores, const UnigramOptions& options,
                                    const std::string& where) {
  return std::make_unique<Unigram>(std::move(vocab), std::move(scores), options, where);
}

}  // namespace graft::text
