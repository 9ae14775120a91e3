#include "data/named_rows.h"

#include <algorithm>

#include "base/error.h"
#include "base/shown.h"

namespace graft::data {

NamedRows::NamedRows(const std::filesystem::path& path)
    : name_(name_of(path)),
      rows_(path == "-" ? open_rows(open_stream(path), Format::jsonl, name_) : open_rows(path)) {
  if (rows_->is_text())
    fail_with("give a .jsonl, .json, .csv or .tsv file", "{}: a file with one text a line has no columns",
              name_);
}

std::string NamedRows::place() const { return fmt::format("{}: line {}", name_, row_.line); }

bool NamedRows::has(const std::string& column) const {
  if (row_.line > 0) return cell(column).kind > Cell::Kind::null;
  const std::vector<std::string>& columns = rows_->columns();
  return std::find(columns.begin(), columns.end(), column) != columns.end();
}

const Cell& NamedRows::cell(const std::string& column) const {
  static const Cell kNone;
  const std::vector<std::string>& columns = rows_->columns();
  const auto at = static_cast<size_t>(std::find(columns.begin(), columns.end(), column) - columns.begin());
  return at < row_.cells.size() ? row_.cells[at] : kNone;
}

const std::string& NamedRows::text(const std::string& column) const {
  const Cell& found = cell(column);
  if (found.kind > Cell::Kind::null && found.kind != Cell::Kind::list && found.kind != Cell::Kind::object)
    return found.text;
  fail_with("give the row a text, or remove it", "{}: the column '{}' is {}", place(), shown(column),
            found.kind == Cell::Kind::missing ? "missing"
            : found.kind == Cell::Kind::null  ? "null"
            : found.kind == Cell::Kind::list  ? "a list, not a text"
                                              : "an object, not a text");
}

void NamedRows::fail_without(const std::string& columns, const std::string& hint) const {
  fail_with(hint, "{}: no {} (columns: {})", name_, columns, join_names(rows_->columns()));
}

}  // namespace graft::data
