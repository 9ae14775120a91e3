#include "text/train_unigram.h"

#include <algorithm>
#include <cmath>
#include <unordered_set>

#include "base/threads.h"
#include "text/trie.h"
#include "text/unicode.h"

namespace graft::text {
namespace {

constexpr int64_t kNumParts = 16;  // number of partial sums, independent of the number of threads
// pieces with a smaller expected count are removed (sentencepiece's threshold)
constexpr double kMinExpected = 0.5;
constexpr double kOvershoot = 1.1;  // pruning stops slightly above the requested size
// Longer words (texts of languages without spaces) are cut: the probabilities of a word's segmentations, each
// multiplied by kMaxWordChars gains, must stay within a double's range (e^700), and a character costs up to
// e^14.
constexpr size_t kMaxWordChars = 48;

// log and derivative of the gamma function's log, by recurrence and asymptotic series (Bernardo 1976).
double digamma(double x) {
  double result = 0;
  for (; x < 7; ++x) result -= 1 / x;
  x -= 0.5;
  const double xx = 1 / x, xx2 = xx * xx, xx4 = xx2 * xx2;
  return result + std::log(x) + 1.0 / 24 * xx2 - 7.0 / 960 * xx4 + 31.0 / 8064 * xx4 * xx2 -
         127.0 / 30720 * xx4 * xx4;
}

// Cuts a word without spaces into parts of at most kMaxWordChars characters: after the last punctuation mark
// in reach, if there is one.
template <class Emit>
void cut_run(std::string_view run, Emit emit) {
  for (size_t begin = 0; begin < run.size();) {
    size_t pos = begin, cut = begin, chars = 0;
    for (; pos < run.size() && chars < kMaxWordChars; ++chars)
      if (is_punctuation(next_char(run, pos))) cut = pos;
    if (pos == run.size() || cut == begin) cut = pos;
    emit(run.substr(begin, cut - begin));
    begin = cut;
  }
}

// Words without the characters outside the alphabet, and cut if too long. The counts of equal parts are added
// in the order of the words.
WordCounts restrict_words(const WordCounts& words, const std::vector<std::string>& alphabet) {
  const std::unordered_set<std::string> known(alphabet.begin(), alphabet.end());
  CountMap parts;
  for (const auto& [word, count] : words) {
    std::string run;
    const auto flush = [&, n = count] {
      cut_run(run, [&](std::string_view part) { parts.add(part, n); });
      run.clear();
    };
    for (size_t pos = 0; pos < word.size();) {
      const size_t begin = pos;
      next_char(word, pos);
      const std::string c = word.substr(begin, pos - begin);
      if (known.count(c))
        run += c;
      else
        flush();
    }
    flush();
  }
  WordCounts out;
  out.reserve(parts.size());
  for (size_t i = 0; i < parts.size(); ++i) out.emplace_back(std::string(parts.key(i)), parts.count(i));
  return out;
}

// The current pieces as a lattice over words. Scores may change during its lifetime. A piece with the score
// kGone is ignored.
constexpr double kGone = -INFINITY;
class Lattice {
 public:
  explicit Lattice(const std::vector<ScoredPiece>& pieces) : pieces_(pieces) {
    size_t bytes = 0;
    for (const ScoredPiece& p : pieces) bytes += p.text.size();
    TrieBuilder builder;
    builder.reserve(pieces.size(), bytes);
    for (size_t i = 0; i < pieces.size(); ++i) builder.add(pieces[i].text, static_cast<int32_t>(i));
    trie_ = builder.build();
  }

  // Calls edge(begin, end, piece) for every piece in the word.
  template <class Edge>
  void edges(std::string_view word, Edge edge) const {
    for (size_t begin = 0; begin < word.size(); begin += sequence_length(word[begin])) {
      uint32_t node = Trie::kRoot;
      for (size_t i = begin; i < word.size(); ++i) {
        node = trie_.next(node, static_cast<unsigned char>(word[i]));
        if (node == Trie::kNone) break;
        if (const int32_t id = trie_.value(node); id >= 0) edge(begin, i + 1, id);
      }
    }
  }

  // The best segmentation; `banned` is a piece that must not be used (-1: none). False if there is no
  // segmentation.
  bool viterbi(std::string_view word, int32_t banned, std::vector<int32_t>& out) const {
    thread_local std::vector<double> score;
    thread_local std::vector<std::pair<size_t, int32_t>> back;
    score.assign(word.size() + 1, -INFINITY);
    back.assign(word.size() + 1, {0, -1});
    score[0] = 0;
    edges(word, [&](size_t begin, size_t end, int32_t id) {
      if (id == banned || score[begin] == -INFINITY) return;
      const double s = score[begin] + pieces_[id].score;
      if (s > score[end]) {
        score[end] = s;
        back[end] = {begin, id};
      }
    });
    out.clear();
    if (score[word.size()] == -INFINITY) return false;
    for (size_t end = word.size(); end > 0; end = back[end].first) out.push_back(back[end].second);
    return true;
  }

 private:
  const std::vector<ScoredPiece>& pieces_;
  Trie trie_;
};

// Sum over parts of the words. The parts are added in order: the same bits for any number of threads.
template <class Visit>
std::vector<double> sum_over_words(const WordCounts& words, size_t size, Visit visit) {
  std::vector<std::vector<double>> parts(kNumParts);
  const auto n = static_cast<int64_t>(words.size());
  parallel_for(kNumParts, [&](int64_t part) {
    parts[part].assign(size, 0.0);
    for (int64_t i = n * part / kNumParts; i < n * (part + 1) / kNumParts; ++i) visit(words[i], parts[part]);
  });
  for (int64_t part = 1; part < kNumParts; ++part)
    for (size_t i = 0; i < size; ++i) parts[0][i] += parts[part][i];
  return std::move(parts[0]);
}

// Expected number of uses of each piece (forward-backward). Probabilities are multiplied by `gain` per byte,
// which cancels out and prevents underflow of the products.
std::vector<double> expectation(const WordCounts& words, const std::vector<ScoredPiece>& pieces,
                                const Lattice& lattice, double log_gain) {
  std::vector<double> weight(pieces.size());
  for (size_t i = 0; i < pieces.size(); ++i)
    weight[i] = std::exp(pieces[i].score + log_gain * static_cast<double>(pieces[i].text.size()));
  struct Edge {
    uint32_t begin, end;
    int32_t id;
  };
  return sum_over_words(words, pieces.size(), [&](const auto& entry, std::vector<double>& expected) {
    thread_local std::vector<double> forward, backward;
    thread_local std::vector<Edge> edges;
    const std::string& word = entry.first;
    forward.assign(word.size() + 1, 0.0);
    backward.assign(word.size() + 1, 0.0);
    edges.clear();
    forward[0] = 1;
    lattice.edges(word, [&](size_t begin, size_t end, int32_t id) {
      if (weight[id] == 0) return;
      edges.push_back({static_cast<uint32_t>(begin), static_cast<uint32_t>(end), id});
      forward[end] += forward[begin] * weight[id];
    });
    const double total = forward[word.size()];
    if (!(total > 0) || !std::isfinite(total)) return;
    backward[word.size()] = 1;
    for (size_t e = edges.size(); e-- > 0;)
      backward[edges[e].begin] += backward[edges[e].end] * weight[edges[e].id];
    const double scale = static_cast<double>(entry.second) / total;
    for (const Edge& e : edges) expected[e.id] += scale * forward[e.begin] * weight[e.id] * backward[e.end];
  });
}

class Trainer {
 public:
  Trainer(const WordCounts& words, const UnigramTrainerOptions& options)
      : options_(options),
        words_(restrict_words(words, options.alphabet)),
        required_(options.alphabet.begin(), options.alphabet.end()) {
    pieces_ = seed_pieces(words_, options);
  }

  std::vector<ScoredPiece> run() {
    const auto wanted = static_cast<size_t>(kOvershoot * options_.vocab_size);
    for (;;) {
      const Lattice lattice(pieces_);
      size_t left = pieces_.size();
      for (int32_t i = 0; i < options_.num_sub_iterations; ++i)
        left = maximise(expectation(words_, pieces_, lattice, log_gain(lattice)));
      if (left <= wanted) break;
      if (!prune(lattice, std::max(wanted, static_cast<size_t>(options_.shrinking_factor *
                                                               static_cast<double>(left)))))
        break;
    }
    return finish();
  }

 private:
  // Approximate cost per byte under the current pieces, from the best segmentations of a sample of words.
  double log_gain(const Lattice& lattice) const {
    std::vector<int32_t> path;
    double cost = 0, bytes = 0;
    const size_t step = words_.size() / 1000 + 1;
    for (size_t i = 0; i < words_.size(); i += step) {
      if (!lattice.viterbi(words_[i].first, -1, path)) continue;
      for (const int32_t id : path) cost -= pieces_[id].score;
      bytes += static_cast<double>(words_[i].first.size());
    }
    return bytes > 0 ? cost / bytes : 0;
  }

  // Sets the new scores; returns the number of remaining pieces.
  size_t maximise(const std::vector<double>& expected) {
    size_t left = 0;
    double sum = 0;
    for (size_t i = 0; i < pieces_.size(); ++i) {
      double& score = pieces_[i].score;
      if (score == kGone) continue;
      if (expected[i] < kMinExpected && !required_.count(pieces_[i].text)) {
        score = kGone;
        continue;
      }
      score = std::max(expected[i], kMinExpected);
      sum += score;
      ++left;
    }
    const double log_sum = digamma(sum);
    for (ScoredPiece& piece : pieces_)
      if (piece.score != kGone) piece.score = digamma(piece.score) - log_sum;
    return left;
  }

  // Removes the pieces whose removal lowers the likelihood least; false if none can be removed.
  bool prune(const Lattice& lattice, size_t size) {
    const std::vector<double> uses =
        sum_over_words(words_, pieces_.size(), [&](const auto& entry, auto& counts) {
          thread_local std::vector<int32_t> path;
          if (lattice.viterbi(entry.first, -1, path))
            for (const int32_t id : path) counts[id] += static_cast<double>(entry.second);
        });
    double total = 0;
    for (const double u : uses) total += u;
    constexpr double kKeep = INFINITY, kDrop = -INFINITY;
    std::vector<double> loss(pieces_.size(), kKeep);
    parallel_blocks(static_cast<int64_t>(pieces_.size()), 4096, [&](int64_t begin, int64_t end) {
      std::vector<int32_t> path;
      for (int64_t i = begin; i < end; ++i) {
        if (pieces_[i].score == kGone) loss[i] = kDrop;
        if (loss[i] == kDrop || required_.count(pieces_[i].text)) continue;
        lattice.viterbi(pieces_[i].text, -1, path);
        if (path.size() != 1 || uses[i] == 0) {  // its segmentation into other pieces has a better score
          loss[i] = kDrop;
          continue;
        }
        if (!lattice.viterbi(pieces_[i].text, static_cast<int32_t>(i), path)) continue;
        const double log_total = std::log(total + uses[i] * static_cast<double>(path.size() - 1));
        double alternative = 0;
        for (const int32_t id : path) alternative += std::log(uses[id] + uses[i]) - log_total;
        loss[i] = uses[i] / total * (std::log(uses[i]) - std::log(total) - alternative);
      }
    });
    std::vector<int32_t> order(pieces_.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int32_t>(i);
    std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return loss[a] > loss[b]; });
    std::vector<ScoredPiece> kept;
    for (const int32_t i : order)
      if (loss[i] == kKeep || (loss[i] > kDrop && kept.size() < size)) kept.push_back(std::move(pieces_[i]));
    const bool shrank = kept.size() < order.size();
    pieces_ = std::move(kept);
    return shrank;
  }

  std::vector<ScoredPiece> finish() {
    std::stable_sort(pieces_.begin(), pieces_.end(), [](const auto& a, const auto& b) {
      return a.score != b.score ? a.score > b.score : a.text < b.text;
    });
    size_t room =
        static_cast<size_t>(options_.vocab_size) - std::min<size_t>(options_.vocab_size, required_.size());
    std::vector<ScoredPiece> out;
    for (ScoredPiece& piece : pieces_) {
      const bool required = required_.count(piece.text) > 0;
      if (piece.score == kGone || (!required && room == 0)) continue;
      room -= !required;
      out.push_back(std::move(piece));
    }
    return out;
  }

  const UnigramTrainerOptions& options_;
  WordCounts words_;
  std::unordered_set<std::string> required_;
  std::vector<ScoredPiece> pieces_;
};

}  // namespace

std::vector<ScoredPiece> train_unigram(const WordCounts& words, const UnigramTrainerOptions& options) {
  return Trainer(words, options).run();
}

}  // namespace graft::text
