#include "transfer/word_alignment.h"

#include <algorithm>
#include <memory>
#include <mutex>

#include "base/error.h"
#include "base/threads.h"

namespace graft::transfer {

namespace {

// The sentences in which each foreign id occurs, a sentence as often as the id is in it; NULL in all.
struct Occurrences {
  std::vector<int64_t> offsets;
  std::vector<int32_t> sentences;
};

Occurrences occurrences_of(const PieceSentences& foreign, int32_t num_foreign) {
  Occurrences out;
  out.offsets.assign(static_cast<size_t>(num_foreign) + 1, 0);
  for (const int32_t id : foreign.ids) ++out.offsets[static_cast<size_t>(id) + 1];
  for (size_t i = 1; i < out.offsets.size(); ++i) out.offsets[i] += out.offsets[i - 1];
  std::vector<int64_t> at = out.offsets;
  out.sentences.resize(foreign.ids.size());
  for (int64_t s = 0; s < foreign.size(); ++s)
    for (int64_t i = foreign.offsets[static_cast<size_t>(s)]; i < foreign.offsets[static_cast<size_t>(s) + 1];
         ++i)
      out.sentences[static_cast<size_t>(at[static_cast<size_t>(foreign.ids[static_cast<size_t>(i)])]++)] =
          static_cast<int32_t>(s);
  return out;
}

// Dense numbers by English id, of one thread at a time.
struct Counts {
  explicit Counts(int32_t n) : value(static_cast<size_t>(n)), sum(static_cast<size_t>(n)) {}
  std::vector<float> value;  // t(e | f) of the row at hand
  std::vector<double> sum;   // expected counts
  std::vector<int32_t> seen;
};

class CountsPool {
 public:
  explicit CountsPool(int32_t n) : n_(n) {}
  std::unique_ptr<Counts> take() {
    const std::lock_guard lock(mutex_);
    if (free_.empty()) return std::make_unique<Counts>(n_);
    auto counts = std::move(free_.back());
    free_.pop_back();
    return counts;
  }
  void give(std::unique_ptr<Counts> counts) {
    const std::lock_guard lock(mutex_);
    free_.push_back(std::move(counts));
  }

 private:
  int32_t n_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Counts>> free_;
};

using TranslationRow = std::vector<std::pair<int32_t, float>>;

float probability(const TranslationRow& row, int32_t english) {
  const auto found = std::lower_bound(row.begin(), row.end(), english,
                                      [](const auto& entry, int32_t id) { return entry.first < id; });
  return found != row.end() && found->first == english ? found->second : 0;
}

class Aligner {
 public:
  Aligner(const PieceSentences& english, int32_t num_english, const PieceSentences& foreign,
          int32_t num_foreign)
      : english_(english),
        foreign_(foreign),
        num_foreign_(num_foreign),
        occurrences_(occurrences_of(foreign, num_foreign)),
        pool_(num_english),
        rows_(static_cast<size_t>(num_foreign) + 1),
        weights_(english.ids.size()) {}

  void round(bool first) {
    weigh(first);
    parallel_blocks(num_foreign_ + 1, 64, [&](int64_t begin, int64_t end) {
      std::unique_ptr<Counts> counts = pool_.take();
      for (int64_t f = begin; f < end; ++f) count(f, first, *counts);
      pool_.give(std::move(counts));
    });
  }
  Translations take() {
    rows_.pop_back();  // NULL
    return std::move(rows_);
  }

 private:
  static size_t at(int64_t i) { return static_cast<size_t>(i); }

  // 1 / the sum over the foreign pieces of t(e | f), for each English piece of each sentence.
  void weigh(bool first) {
    parallel_blocks(english_.size(), 256, [&](int64_t begin, int64_t end) {
      for (int64_t s = begin; s < end; ++s) {
        const int64_t from = foreign_.offsets[at(s)], to = foreign_.offsets[at(s) + 1];
        for (int64_t j = english_.offsets[at(s)]; j < english_.offsets[at(s) + 1]; ++j) {
          double sum =
              first ? static_cast<double>(to - from + 1) : probability(rows_.back(), english_.ids[at(j)]);
          if (!first)
            for (int64_t i = from; i < to; ++i)
              sum += probability(rows_[at(foreign_.ids[at(i)])], english_.ids[at(j)]);
          weights_[at(j)] = sum > 0 ? static_cast<float>(1 / sum) : 0;
        }
      }
    });
  }

  // The expected counts of row f, in the order of its sentences, normalised.
  void count(int64_t f, bool first, Counts& c) {
    TranslationRow& row = rows_[at(f)];
    for (const auto& [e, p] : row) c.value[at(e)] = p;
    const auto add = [&](int64_t s) {
      for (int64_t j = english_.offsets[at(s)]; j < english_.offsets[at(s) + 1]; ++j) {
        const auto e = at(english_.ids[at(j)]);
        const double share = (first ? 1.0 : double{c.value[e]}) * double{weights_[at(j)]};
        if (share <= 0) continue;
        if (c.sum[e] == 0) c.seen.push_back(static_cast<int32_t>(e));
        c.sum[e] += share;
      }
    };
    if (f == num_foreign_) {
      for (int64_t s = 0; s < english_.size(); ++s) add(s);
    } else {
      for (int64_t i = occurrences_.offsets[at(f)]; i < occurrences_.offsets[at(f) + 1]; ++i)
        add(occurrences_.sentences[at(i)]);
    }
    for (const auto& [e, p] : row) c.value[at(e)] = 0;
    std::sort(c.seen.begin(), c.seen.end());
    double total = 0;
    for (const int32_t e : c.seen) total += c.sum[at(e)];
    row.clear();
    row.reserve(c.seen.size());
    for (const int32_t e : c.seen) {
      row.emplace_back(e, static_cast<float>(c.sum[at(e)] / total));
      c.sum[at(e)] = 0;
    }
    c.seen.clear();
  }

  const PieceSentences &english_, &foreign_;
  int64_t num_foreign_;
  Occurrences occurrences_;
  CountsPool pool_;
  Translations rows_;  // the last one is that of NULL
  std::vector<float> weights_;
};

}  // namespace

void PieceSentences::add(const std::vector<int32_t>& sentence, size_t longest) {
  ids.insert(ids.end(), sentence.begin(),
             sentence.begin() + static_cast<std::ptrdiff_t>(std::min(longest, sentence.size())));
  offsets.push_back(static_cast<int64_t>(ids.size()));
}

Translations align_pieces(const PieceSentences& english, int32_t num_english, const PieceSentences& foreign,
                          int32_t num_foreign, int rounds) {
  if (english.size() != foreign.size())
    fail("{} sentences cannot be aligned with {}", english.size(), foreign.size());
  Aligner aligner(english, num_english, foreign, num_foreign);
  for (int i = 0; i < rounds; ++i) aligner.round(i == 0);
  return aligner.take();
}

}  // namespace graft::transfer
