// Questions on contexts, row by row: SQuAD's nested json (Rajpurkar et al. 2016, 2018) and the flat rows of
// `datasets`.
#pragma once
#include <vector>

#include "data/named_rows.h"
#include "graft/dataset.h"

namespace graft::data {

class QuestionReader {
 public:
  // options.require_label: a question without "answers" is an error. A question that "is_impossible" has
  // none.
  QuestionReader(const std::filesystem::path& path, const DatasetOptions& options);

  // False at the end; a file without a question is an Error.
  bool next(Example& example);
  bool has_buffered_row() const { return at_ < article_.size() || rows_.has_buffered_row(); }

 private:
  void read_row(Example& example);
  void read_article();

  NamedRows rows_;
  std::string question_, context_, answers_;  // columns
  bool nested_ = false, wants_answers_, needs_answers_, any_ = false;
  std::vector<Example> article_;  // questions of the last row
  size_t at_ = 0;
};

}  // namespace graft::data
