// The texts of files in any row format, one after the other.
#pragma once
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "data/columns.h"
#include "data/rows.h"

namespace graft::data {

// Columns for reading texts alone: no label is looked for.
DatasetOptions text_columns(DatasetOptions columns);
// The text of a cell, moved out of it. Throws Error for a list or an object; `place`: "FILE: line N".
std::string take_text(Cell& cell, const std::string& place, const std::string& column);

class TextReader {
 public:
  // Of rows with columns it reads the text and its pair, as `columns` names them.
  TextReader(std::vector<std::filesystem::path> files, DatasetOptions columns);
  // The next text that is more than white space; false at the end. Throws Error naming file and line for a
  // cell that is no text.
  bool next(std::string& text);
  std::string place() const;  // of the last text: "FILE: line N"

 private:
  bool open_next();

  std::vector<std::filesystem::path> files_;
  DatasetOptions options_;
  size_t file_ = 0, cell_ = 2;  // of the row: 0 its text, 1 its pair, 2 the next row
  std::unique_ptr<RowReader> rows_;
  Columns columns_;
  Row row_;
};

// Nothing but white space.
bool is_blank(std::string_view text);

}  // namespace graft::data
