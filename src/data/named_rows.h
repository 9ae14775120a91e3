// Rows whose columns are found by name.
#pragma once
#include <filesystem>
#include <memory>
#include <string>

#include "data/rows.h"

namespace graft::data {

class NamedRows {
 public:
  // "-" is standard input, JSON lines. Throws Error for a file without columns (.txt).
  explicit NamedRows(const std::filesystem::path& path);

  bool next() { return rows_->next(row_); }
  bool has_buffered_row() const { return rows_->has_buffered_row(); }
  int64_t line() const { return row_.line; }
  // "FILE: line 3", of the last row.
  std::string place() const;
  const std::string& file() const { return name_; }
  // The columns of the last row that have a value; all columns before the first row.
  bool has(const std::string& column) const;
  // Of kind `missing` where there is none.
  const Cell& cell(const std::string& column) const;
  // Throws Error with file and line where it is missing, null, a list or an object.
  const std::string& text(const std::string& column) const;
  // Throws Error that lists the columns; `columns`: in words, what was looked for.
  [[noreturn]] void fail_without(const std::string& columns, const std::string& hint) const;

 private:
  std::string name_;
  std::unique_ptr<RowReader> rows_;
  Row row_;
};

}  // namespace graft::data
