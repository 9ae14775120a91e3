// Streams the examples of a file row by row, for predict. Dataset holds all rows in memory instead.
#pragma once
#include <filesystem>
#include <memory>
#include <string>

#include "data/columns.h"
#include "data/rows.h"
#include "graft/dataset.h"

namespace graft::data {

class ExampleReader {
 public:
  // Opens the file and chooses its columns; "-" is standard input, a text a line. Throws Error as
  // Dataset::from_file.
  ExampleReader(const std::filesystem::path& path, const DatasetOptions& options);
  // The same from open rows; `path` is for messages.
  ExampleReader(std::unique_ptr<RowReader> rows, const std::filesystem::path& path,
                const DatasetOptions& options);

  // Text, pair, target and line of the next row; labels stay empty (see label()). False at the end; a file
  // without a row is an Error, an empty standard input is not. At the end warnings count the empty texts and
  // those that are numbers or booleans in a json.
  bool next(Example& example);
  // Whether next() would probably return without waiting for a pipe.
  bool has_buffered_row() const { return rows_->has_buffered_row(); }
  bool has_pairs() const { return columns_.pair != Columns::kNone; }

  // The label cell of the last row; its kind is `missing` if there is none.
  const Cell& label() const;
  bool has_label_column() const { return columns_.label != Columns::kNone; }
  // "" without a label column.
  std::string label_column() const;
  bool untyped() const { return rows_->untyped(); }

 private:
  void choose_languages();
  const std::string& text_of(size_t column);
  std::string translation(const std::string& language);
  void finish() const;
  void check_late_columns() const;
  void check_late_negatives(const std::vector<std::string>& late) const;
  void read_tuple(Example& example);

  std::string path_;
  DatasetOptions options_;
  std::unique_ptr<RowReader> rows_;
  Columns columns_;
  size_t num_first_columns_ = 0;  // that the first row has; in json others may come later
  Row row_;
  int64_t num_rows_ = 0, num_empty_ = 0, first_empty_ = 0, num_empty_targets_ = 0, first_empty_target_ = 0;
  int64_t num_not_text_ = 0, first_not_text_ = 0;  // numbers and booleans of a json
};

}  // namespace graft::data
