#include "data/text_reader.h"

#include "base/error.h"
#include "base/shown.h"
#include "base/utf8.h"

namespace graft::data {

bool is_blank(std::string_view text) {
  for (size_t pos = 0; pos < text.size();) {
    char32_t c = 0;
    const int n = utf8::decode(text, pos, c);
    if (n == 0 || !utf8::is_space(c)) return false;
    pos += static_cast<size_t>(n);
  }
  return true;
}

DatasetOptions text_columns(DatasetOptions columns) {
  columns.ignore_label = true;
  columns.require_label = false;
  columns.label_column.clear();
  return columns;
}

std::string take_text(Cell& cell, const std::string& place, const std::string& column) {
  if (cell.kind == Cell::Kind::list || cell.kind == Cell::Kind::object)
    fail_with("write a text, or name another --text_column", "{}: column '{}' is {}, not a text", place,
              shown(column), cell.kind == Cell::Kind::list ? "a list" : "an object");
  return std::move(cell.text);
}

TextReader::TextReader(std::vector<std::filesystem::path> files, DatasetOptions columns)
    : files_(std::move(files)), options_(text_columns(std::move(columns))) {}

bool TextReader::open_next() {
  if (file_ == files_.size()) return false;
  const std::filesystem::path& path = files_[file_++];
  rows_ = open_rows(path);
  columns_ = choose_columns(rows_->columns(), options_, name_of(path), rows_->separator());
  return true;
}

std::string TextReader::place() const {
  return name_of(files_[file_ - 1]) + ": line " + std::to_string(row_.line);
}

bool TextReader::next(std::string& text) {
  for (;;) {
    if (cell_ >= 2) {
      if (!rows_ && !open_next()) return false;
      if (!rows_->next(row_)) {
        rows_.reset();
        continue;
      }
      cell_ = 0;
    }
    const size_t column = cell_++ == 0 ? columns_.text : columns_.pair;
    if (column == Columns::kNone || column >= row_.cells.size()) continue;
    std::string taken = take_text(row_.cells[column], place(), rows_->columns()[column]);
    if (is_blank(taken)) continue;
    text = std::move(taken);
    return true;
  }
}

}  // namespace graft::data
