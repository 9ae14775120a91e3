// The files of `graft xling`: read, compared with each other, and made into the rows of a run.
#pragma once
#include <string>
#include <vector>

#include "transfer/xling.h"

namespace graft::transfer {

struct LanguageRows {
  LanguageFile file;
  Dataset rows;
};

struct XlingData {
  std::vector<LanguageRows> training;     // without the rows that are held out
  Dataset dev;                            // of the source language
  int64_t held_out = 0;                   // of its training rows, for dev; 0: dev is a file
  std::vector<std::string> dev_overlaps;  // with the rows of targets, in words
  std::vector<LanguageRows> tests;        // the source's first, where it has one
  std::vector<LanguageRows> few_shot;

  const LanguageRows* test_of(const std::string& language) const;
  const LanguageRows& source(const std::string& language) const;  // of `training`
};

// Throws UsageError for a file in two roles that must be apart, Error as the readers do.
XlingData read_files(const XlingJob& job);

// Throws Error for a label of a test file or a few-shot file that no training row has: no model that is
// trained on these can give it. `labels`: of the model. Returns for each language of data.tests the labels of
// training that its rows lack, and logs them.
std::vector<std::vector<std::string>> check_labels(const XlingData& data, const XlingJob& job,
                                                   const std::vector<std::string>& labels);

// The rows of an epoch: capped and mixed by temperature, drawn by `seed`. `counts`, if set, receives the
// number of rows of each language.
Dataset rows_of_run(const XlingData& data, const XlingJob& job, uint64_t seed,
                    std::vector<int64_t>* counts = nullptr);

}  // namespace graft::transfer
