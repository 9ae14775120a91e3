// Streams the examples of a file, a row at a time: predict reads with it what Dataset holds in memory.
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

  // Text, pair and line of the next row; labels stay empty (see label()). False at the end; a file without a
  // row is an Error, an empty standard input is not. At the end a warning counts the empty texts.
  bool next(Example& example);
  // Whether next() would probably answer without waiting: whoever serves a pipe answers before it waits.
  bool has_buffered_row() const { return rows_->has_buffered_row(); }
  bool has_pairs() const { return columns_.pair != Columns::kNone; }

  // The label's cell of the last row, of kind `missing` where there is none.
  const Cell& label() const;
  bool has_label_column() const { return columns_.label != Columns::kNone; }
  // "" without a label column.
  std::string label_column() const;
  bool untyped() const { return rows_->untyped(); }

 private:
  const std::string& text_of(size_t column) const;
  void finish() const;

  std::string path_;
  DatasetOptions options_;
  std::unique_ptr<RowReader> rows_;
  Columns columns_;
  Row row_;
  int64_t num_rows_ = 0, num_empty_ = 0, first_empty_ = 0;
};

}  // namespace graft::data
