#include "data/csv.h"

#include <algorithm>

#include "base/error.h"

namespace graft::data {
namespace {

// Says when the first line of a file looks like data instead of column names.
bool looks_like_data(const std::vector<std::string>& header) {
  return std::any_of(header.begin(), header.end(), [](const std::string& name) {
    const bool number = !name.empty() && name.find_first_not_of("0123456789.+-eE") == std::string::npos;
    return number || name.size() > 40 || std::count(name.begin(), name.end(), ' ') >= 3;
  });
}

class SeparatedRows : public RowReader {
 public:
  SeparatedRows(std::unique_ptr<ByteStream> stream, const std::filesystem::path& path)
      : lines_(std::move(stream), path, false), path_(path.string()) {}

  const std::vector<std::string>& columns() const override { return columns_; }
  bool untyped() const override { return true; }

  bool next(Row& row) override {
    if (!read_record(row)) return false;
    if (row.cells.size() != columns_.size()) fail_ragged(row);
    return true;
  }

 protected:
  // Reads the first record as the names of the columns.
  void read_header() {
    Row row;
    if (!read_record(row)) {
      fail_with("the first line must name the columns, for example: text,label", "{}: the file is empty",
                path_);
    }
    for (Cell& cell : row.cells) {
      if (cell.text.find('\r') != std::string::npos) {
        fail_with("convert the line ends to U+000A (for example: tr '\\r' '\\n')",
                  "{}: line {}: a carriage return inside the header", path_, row.line);
      }
      columns_.push_back(std::move(cell.text));
    }
  }

  bool read_record(Row& row) {
    std::string& line = line_;
    do {
      if (!lines_.next(line)) return false;
    } while (line.empty() || line == "\r");
    row.line = lines_.line_number();
    row.cells.clear();
    parse(line, row);
    return true;
  }

  virtual void parse(std::string& line, Row& row) = 0;
  // What a ragged row most likely means.
  virtual std::string ragged_hint(const Row& row) const = 0;

  void add(Row& row, std::string text) {
    row.cells.emplace_back();
    row.cells.back().kind = Cell::Kind::text;
    row.cells.back().text = std::move(text);
  }

  [[noreturn]] void fail_ragged(const Row& row) const {
    std::string hint = ragged_hint(row);
    if (looks_like_data(columns_)) {
      hint = "the first line must name the columns (for example: text, label); here it looks like data";
    }
    fail_with(hint, "{}: line {}: {} column{} where the header has {} ({})", path_, row.line,
              row.cells.size(), row.cells.size() == 1 ? "" : "s", columns_.size(), join_names(columns_));
  }

  LineReader lines_;
  std::string path_;
  std::vector<std::string> columns_;
  std::string line_;
};

class CsvRows final : public SeparatedRows {
 public:
  CsvRows(std::unique_ptr<ByteStream> stream, const std::filesystem::path& path)
      : SeparatedRows(std::move(stream), path) {
    read_header();
  }

 private:
  void parse(std::string& line, Row& row) override {
    size_t pos = 0;
    for (;;) {
      std::string field;
      if (pos < line.size() && line[pos] == '"') {
        pos = quoted(line, pos + 1, row, field);
      } else {
        size_t end = line.find(',', pos);
        if (end == std::string::npos) end = line.size() - (line.size() > pos && line.back() == '\r' ? 1 : 0);
        field.assign(line, pos, end - pos);
        pos = end;
      }
      add(row, std::move(field));
      if (pos >= line.size() || line[pos] == '\r') return;
      ++pos;  // the comma
    }
  }

  // Reads the field whose opening quote is before `pos`, over as many lines as it takes; returns the position
  // after the closing quote, in the line then current.
  size_t quoted(std::string& line, size_t pos, const Row& row, std::string& field) {
    const int64_t opened = lines_.line_number();
    for (;;) {
      const size_t quote = line.find('"', pos);
      field.append(line, pos, quote == std::string::npos ? quote : quote - pos);
      if (quote == std::string::npos) {
        field += '\n';
        if (field.size() > kMaxRowBytes) fail_unterminated(opened, row, "not closed within 64 MiB");
        if (!lines_.next(line)) fail_unterminated(opened, row, "never closed");
        pos = 0;
      } else if (quote + 1 < line.size() && line[quote + 1] == '"') {
        field += '"';
        pos = quote + 2;
      } else {
        check_closed(line, quote + 1, opened, row);
        return quote + 1;
      }
    }
  }

  void check_closed(const std::string& line, size_t pos, int64_t opened, const Row& row) const {
    if (pos >= line.size() || line[pos] == ',') return;
    if (line[pos] == '\r' && pos + 1 == line.size()) return;
    const int64_t now = lines_.line_number();
    fail_with("inside a quoted field write each double quote twice (\"\"), or save the data as .jsonl",
              "{}: line {}: column {}: the quote that opens here closes {} but is followed by more text",
              path_, opened, column_name(row),
              now == opened ? "on the same line" : fmt::format("on line {}", now));
  }

  [[noreturn]] void fail_unterminated(int64_t opened, const Row& row, const char* how) const {
    fail_with(
        "close the quote, or where it is part of the text put the field in quotes and write it twice (\"\")",
        "{}: line {}: column {}: a quote opens here and is {}", path_, opened, column_name(row), how);
  }

  std::string column_name(const Row& row) const {
    const size_t i = row.cells.size();
    return i < columns_.size() ? fmt::format("{} ({})", i + 1, columns_[i]) : std::to_string(i + 1);
  }

  std::string ragged_hint(const Row& row) const override {
    if (row.cells.size() > columns_.size()) return "a field with a comma in it must be in double quotes";
    if (row.cells.size() == 1 && row.cells[0].text.find('\t') != std::string::npos) {
      return "the row has tabs: a file separated by tabs must be named .tsv";
    }
    return "every row needs a field for every column; an empty one is written as nothing between two commas";
  }
};

class TsvRows final : public SeparatedRows {
 public:
  TsvRows(std::unique_ptr<ByteStream> stream, const std::filesystem::path& path)
      : SeparatedRows(std::move(stream), path) {
    read_header();
  }

 private:
  void parse(std::string& line, Row& row) override {
    if (line.back() == '\r') line.pop_back();
    split(line, row, true);
    // `"one TAB two"` is one field, or two that hold a quote each: the header decides.
    if (!columns_.empty() && row.cells.size() != columns_.size() && open_quote_or_tab_) {
      Row plain;
      split(line, plain, false);
      if (plain.cells.size() == columns_.size()) row.cells = std::move(plain.cells);
    }
  }

  void split(const std::string& line, Row& row, bool quotes) {
    open_quote_or_tab_ = false;
    for (size_t pos = 0;;) {
      const size_t end = quotes ? find_end(line, pos) : std::min(line.find('\t', pos), line.size());
      std::string field = line.substr(pos, end - pos);
      if (!field.empty() && field[0] == '"') {
        const bool whole = quotes && is_quoted(field);
        open_quote_or_tab_ = open_quote_or_tab_ || !whole || field.find('\t') != std::string::npos;
        if (whole) field = unquote(field);
      }
      add(row, std::move(field));
      if (end >= line.size()) return;
      pos = end + 1;
    }
  }

  // End of the field at `pos`: the next tab, or the tab after a well-formed quoted field that holds tabs.
  static size_t find_end(const std::string& line, size_t pos) {
    const size_t tab = std::min(line.find('\t', pos), line.size());
    if (tab == pos || line[pos] != '"') return tab;
    for (size_t i = pos + 1; i < line.size(); ++i) {
      if (line[i] != '"') continue;
      if (i + 1 < line.size() && line[i + 1] == '"') {
        ++i;
        continue;
      }
      return i + 1 == line.size() || line[i + 1] == '\t' ? i + 1 : tab;
    }
    return tab;
  }

  // Whether the field is one pair of quotes around text whose own quotes are doubled.
  static bool is_quoted(const std::string& field) {
    if (field.size() < 2 || field.back() != '"') return false;
    for (size_t i = 1; i + 1 < field.size(); ++i) {
      if (field[i] != '"') continue;
      if (i + 2 >= field.size() || field[i + 1] != '"') return false;
      ++i;
    }
    return true;
  }

  static std::string unquote(const std::string& field) {
    std::string out;
    for (size_t i = 1; i + 1 < field.size(); ++i) {
      out += field[i];
      i += field[i] == '"';
    }
    return out;
  }

  std::string ragged_hint(const Row& row) const override {
    if (open_quote_or_tab_) {
      return "a quote opens in this row and is not closed on the line; a row of a .tsv is one line: save the "
             "data "
             "as .csv or .jsonl where texts hold line ends";
    }
    if (row.cells.size() > columns_.size())
      return "a text must not hold tabs: replace them, or put it in quotes";
    if (row.cells.size() == 1 && row.cells[0].text.find(',') != std::string::npos && columns_.size() > 1) {
      return "columns of a .tsv are separated by tabs; a file separated by commas must be named .csv";
    }
    return "every row needs a field for every column, separated by tabs";
  }

  bool open_quote_or_tab_ =
      false;  // the last row has a field that opens a quote and leaves it open, or holds a tab
};

}  // namespace

std::unique_ptr<RowReader> csv_rows(std::unique_ptr<ByteStream> stream, const std::filesystem::path& path) {
  return std::make_unique<CsvRows>(std::move(stream), path);
}

std::unique_ptr<RowReader> tsv_rows(std::unique_ptr<ByteStream> stream, const std::filesystem::path& path) {
  return std::make_unique<TsvRows>(std::move(stream), path);
}

}  // namespace graft::data
