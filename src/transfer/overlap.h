// Whether a corpus contains texts of a test set: after training on them a score says nothing about new texts.
// By runs of words, as GPT-3's authors looked for contamination (Brown et al. 2020, appendix C), with shorter
// runs because the texts of test sets are short.
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "graft/dataset.h"

namespace graft::transfer {

// A line of the corpus that holds a run of words of a test text.
struct OverlapExample {
  std::string corpus_place, test_place, text;  // "FILE: line N", and the corpus line
};

struct OverlapReport {
  int64_t test_texts = 0;                // that were looked for
  int64_t short_texts = 0;               // left out: fewer than kFewestWords words, which occur anywhere
  int64_t found_texts = 0;               // that occur in the corpus
  int64_t corpus_lines = 0;              // that hold one
  std::vector<OverlapExample> examples;  // the first ones
};

class TestTexts {
 public:
  // Words of a run: a text of so many words is found by any run of this length, a shorter one as a whole.
  static constexpr size_t kRun = 8, kFewestWords = 4;
  static constexpr size_t kExamples = 3;

  // Reads the texts of files of any format that graft reads, labels left out.
  void add_file(const std::filesystem::path& file, const DatasetOptions& columns);
  void add_text(const std::string& text, const std::string& place);
  bool empty() const { return runs_.empty(); }

  // Looks for the texts in a line of the corpus, and counts. True if there is one.
  bool look_in(const std::string& line, const std::vector<uint64_t>& words, const std::string& corpus_file,
               int64_t number);
  const OverlapReport& report() const { return report_; }

 private:
  std::unordered_map<uint64_t, uint32_t> runs_;  // hash of a run -> the test text
  std::vector<std::string> places_;              // of the test texts
  std::vector<bool> found_;
  bool has_length_[kRun + 1] = {};  // of runs
  OverlapReport report_;
};

}  // namespace graft::transfer
