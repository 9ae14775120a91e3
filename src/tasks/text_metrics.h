// Metrics of generated texts: ROUGE (Lin 2004, "ROUGE: A package for automatic evaluation of summaries") with
// the definitions of the package rouge-score 0.1.2 without a stemmer; chrF and chrF++ (Popović 2015, 2017)
// with those of sacrebleu 2.6; exact match.
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

#include "tasks/metrics.h"

namespace graft::tasks {

// F1 of a prediction, 0 to 1. ROUGE reads words of a-z and 0-9 in lower case and nothing else: a text in
// another script has no words and scores 0. rougeLsum takes each line as a sentence.
struct RougeScores {
  double rouge1 = 0, rouge2 = 0, rougeL = 0, rougeLsum = 0;
};
RougeScores rouge(std::string_view prediction, std::string_view reference);

// F-score (beta 2) of character n-grams up to 6 without white space, and of word n-grams up to `word_order`
// (0: chrF, 2: chrF++), over all texts together.
class ChrF {
 public:
  explicit ChrF(size_t word_order = 0);
  void add(std::string_view prediction, std::string_view reference);
  double score() const;  // 0 to 100
  Partial partial() const;
  void merge(const Partial& part);

 private:
  struct Counts {  // of one order
    int64_t predicted = 0, reference = 0, common = 0;
  };
  std::vector<Counts> orders_;
};

// rouge1, rouge2, rougeL, rougeLsum (means over the examples, in percent, as run_summarization shows them),
// chrf, chrf++, exact_match (a share from 0 to 1). White space at the ends of a text does not count. The
// values do not depend on how the examples are shared between processes: 32 bytes are kept for each.
class TextMetrics {
 public:
  void add(std::string_view prediction, std::string_view reference);
  Partial partial() const;
  void merge(const Partial& part);
  MetricValues values() const;

 private:
  std::vector<RougeScores> rouge_;
  ChrF chrf_{0}, chrf_plus_plus_{2};
  int64_t exact_ = 0;
};

}  // namespace graft::tasks
