// Rows of choices: a context, what each choice continues or answers, the choices, and the right one.
#pragma once
#include "data/named_rows.h"
#include "graft/dataset.h"

namespace graft::data {

class ChoiceReader {
 public:
  // Rows with "choices" (a list) and "context", "question" or both, or as SWAG: sent1, sent2, ending0,
  // ending1, ... options.require_label: a row without a label is an error.
  ChoiceReader(const std::filesystem::path& path, const DatasetOptions& options);

  // text: the context, or the question where there is no context; text_pair: what stands before each choice;
  // labels: the index of the right one, as digits. Throws Error with file and line for fewer than two choices
  // and for a label that is not one of them. False at the end.
  bool next(Example& example);
  bool has_buffered_row() const { return rows_.has_buffered_row(); }

 private:
  void read_choices(Example& e) const;
  void read_endings(Example& e) const;
  void read_label(Example& e) const;

  NamedRows rows_;
  std::string label_;
  bool swag_ = false, wants_label_, needs_label_, any_ = false;
};

}  // namespace graft::data
