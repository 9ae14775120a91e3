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

TextReader::TextReader(std::vector<std::filesystem::path> files, DatasetOptions columns)
    : files_(std::move(files)), options_(std::move(columns)) {
  options_.ignore_label = true;
  options_.require_label = false;
  options_.label_column.clear();
}

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
    Cell& cell = row_.cells[column];
    if (cell.kind == Cell::Kind::list || cell.kind == Cell::Kind::object)
      fail_with("write a text, or name another --text_column", "{}: column '{}' is {}, not a text", place(),
                shown(rows_->columns()[column]), cell.kind == Cell::Kind::list ? "a list" : "an object");
    if (is_blank(cell.text)) continue;
    text = std::move(cell.text);
    return true;
  }
}

}  // namespace graft::data
