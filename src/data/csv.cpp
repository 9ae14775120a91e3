#include "data/csv.h"

#include <algorithm>

#include "base/error.h"
#include "base/shown.h"

namespace graft::data {
namespace {

// Whether the first line of a file looks like data instead of column names.
bool looks_like_data(const std::vector<std::string>& header) {
  return std::any_of(header.begin(), header.end(), [](const std::string& name) {
    const bool number = !name.empty() && name.find_first_not_of("0123456789.+-eE") == std::string::npos;
    return number || name.size() > 40 || std::count(name.begin(), name.end(), ' ') >= 3;
  });
}

class SeparatedRows : public RowReader {
 public:
  SeparatedRows(std::unique_ptr<ByteStream> stream, const std::filesystem::path& path, char separator)
      : lines_(std::move(stream), path, false), path_(path.string()), separator_(separator) {}

  const std::vector<std::string>& columns() const override { return columns_; }
  char separator() const override { return separator_; }
  bool has_buffered_row() const override { return lines_.has_buffered_line(); }

  bool next(Row& row) override {
    if (!read_record(row)) return false;
    if (num_fields_ != columns_.size()) fail_ragged(row);
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
    if (num_fields_ > kMaxColumns) {
      fail_with("the first line must name the columns, for example: text,label",
                "{}: line {}: {} columns; a file may have {}", path_, row.line, num_fields_, kMaxColumns);
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
    record_bytes_ = line.size();
    clear(row);
    parse(line, row);
    return true;
  }

  virtual void parse(std::string& line, Row& row) = 0;
  // What a ragged row most likely means.
  virtual std::string ragged_hint(const Row& row) const = 0;

  void clear(Row& row) {
    row.cells.clear();
    num_fields_ = 0;
  }

  // Fields beyond those of the header are counted and not kept: a row of commas takes no memory.
  void add(Row& row, std::string_view text) {
    if (num_fields_++ > (columns_.empty() ? kMaxColumns : columns_.size())) return;
    row.cells.emplace_back();
    row.cells.back().kind = Cell::Kind::text;
    row.cells.back().text = text;
  }

  [[noreturn]] void fail_ragged(const Row& row) const {
    std::string hint = ragged_hint(row);
    if (looks_like_data(columns_)) {
      hint = "the first line must name the columns (for example: text, label); here it looks like data";
    } else if (in_single_quotes(row)) {
      hint = "a field in single quotes is not quoted: put it in double quotes (\")";
    }
    fail_with(hint, "{}: line {}: {} column{} where the header has {} ({})", path_, row.line, num_fields_,
              num_fields_ == 1 ? "" : "s", columns_.size(), join_names(columns_));
  }

  // Whether a field opens a single quote that it leaves open.
  static bool in_single_quotes(const Row& row) {
    return std::any_of(row.cells.begin(), row.cells.end(), [](const Cell& cell) {
      return cell.text.size() > 1 && cell.text.front() == '\'' && cell.text.back() != '\'';
    });
  }

  LineReader lines_;
  std::string path_;
  char separator_;
  std::vector<std::string> columns_;
  std::string line_;
  size_t num_fields_ = 0, record_bytes_ = 0;  // of the last record
};

class CsvRows final : public SeparatedRows {
 public:
  CsvRows(std::unique_ptr<ByteStream> stream, const std::filesystem::path& path)
      : SeparatedRows(std::move(stream), path, ',') {
    read_header();
  }

 private:
  void parse(std::string& line, Row& row) override {
    size_t pos = 0;
    for (;;) {
      if (pos < line.size() && line[pos] == '"') {
        std::string field;
        pos = quoted(line, pos + 1, field);
        add(row, field);
      } else {
        size_t end = line.find(',', pos);
        if (end == std::string::npos) end = line.size() - (line.size() > pos && line.back() == '\r' ? 1 : 0);
        add(row, std::string_view(line).substr(pos, end - pos));
        pos = end;
      }
      if (pos >= line.size() || line[pos] == '\r') return;
      ++pos;  // the comma
    }
  }

  // Reads the field whose opening quote is before `pos`, over as many lines as it takes; returns the position
  // after the closing quote, in the line then current.
  size_t quoted(std::string& line, size_t pos, std::string& field) {
    const int64_t opened = lines_.line_number();
    for (;;) {
      const size_t quote = line.find('"', pos);
      field.append(line, pos, quote == std::string::npos ? quote : quote - pos);
      if (quote == std::string::npos) {
        field += '\n';
        if (!lines_.next(line)) fail_unterminated(opened, "never closed");
        record_bytes_ += line.size() + 1;
        if (record_bytes_ > kMaxRowBytes) fail_unterminated(opened, "not closed within 64 MiB");
        pos = 0;
      } else if (quote + 1 < line.size() && line[quote + 1] == '"') {
        field += '"';
        pos = quote + 2;
      } else {
        check_closed(line, quote + 1, opened);
        return quote + 1;
      }
    }
  }

  void check_closed(const std::string& line, size_t pos, int64_t opened) const {
    if (pos >= line.size() || line[pos] == ',') return;
    if (line[pos] == '\r' && pos + 1 == line.size()) return;
    const char next = line[pos];
    std::string hint =
        "inside a quoted field write each double quote twice (\"\"), or save the data as .jsonl";
    if (next == '\t') {
      hint = "a tab follows the quote: a file separated by tabs must be named .tsv";
    } else if (next == ';' || next == '|') {
      hint = fmt::format("a '{}' follows the quote: columns of a .csv are separated by commas", next);
    } else if (pos >= 2 && line[pos - 2] == '\\') {
      hint = "a backslash does not escape a quote in a .csv: write each quote inside a field twice (\"\")";
    }
    const int64_t now = lines_.line_number();
    fail_with(std::move(hint),
              "{}: line {}: column {}: the quote that opens here closes {} but is followed by more text",
              path_, opened, column_name(),
              now == opened ? "on the same line" : fmt::format("on line {}", now));
  }

  [[noreturn]] void fail_unterminated(int64_t opened, const char* how) const {
    fail_with(
        "close the quote, or where it is part of the text put the field in quotes and write it twice (\"\")",
        "{}: line {}: column {}: a quote opens here and is {}", path_, opened, column_name(), how);
  }

  // Of the field that is being read.
  std::string column_name() const {
    const size_t i = num_fields_;
    return i < columns_.size() ? fmt::format("{} ({})", i + 1, shown(columns_[i])) : std::to_string(i + 1);
  }

  std::string ragged_hint(const Row& row) const override {
    if (num_fields_ > columns_.size()) return "a field with a comma in it must be in double quotes";
    if (num_fields_ == 1 && row.cells[0].text.find('\t') != std::string::npos) {
      return "the row has tabs: a file separated by tabs must be named .tsv";
    }
    return "every row needs a field for every column; an empty one is written as nothing between two commas";
  }
};

class TsvRows final : public SeparatedRows {
 public:
  TsvRows(std::unique_ptr<ByteStream> stream, const std::filesystem::path& path)
      : SeparatedRows(std::move(stream), path, '\t') {
    read_header();
  }

 private:
  void parse(std::string& line, Row& row) override {
    if (line.back() == '\r') line.pop_back();
    split(line, row, true);
    // `"one TAB two"` is one field, or two that hold a quote each: the header decides.
    if (columns_.empty() || num_fields_ == columns_.size() || !open_quote_or_tab_) return;
    const size_t num_unquoted = static_cast<size_t>(std::count(line.begin(), line.end(), '\t')) + 1;
    if (num_unquoted != columns_.size()) return;
    clear(row);
    split(line, row, false);
  }

  void split(const std::string& line, Row& row, bool quotes) {
    open_quote_or_tab_ = false;
    for (size_t pos = 0;;) {
      const size_t end = quotes ? find_end(line, pos) : std::min(line.find('\t', pos), line.size());
      const std::string_view field = std::string_view(line).substr(pos, end - pos);
      const bool whole = quotes && is_quoted(field);
      if (field.starts_with('"')) {
        open_quote_or_tab_ = open_quote_or_tab_ || !whole || field.find('\t') != std::string::npos;
      }
      if (whole) {
        add(row, unquote(field));
      } else {
        add(row, field);
      }
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
  static bool is_quoted(std::string_view field) {
    if (field.size() < 2 || field.front() != '"' || field.back() != '"') return false;
    for (size_t i = 1; i + 1 < field.size(); ++i) {
      if (field[i] != '"') continue;
      if (i + 2 >= field.size() || field[i + 1] != '"') return false;
      ++i;
    }
    return true;
  }

  static std::string unquote(std::string_view field) {
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
             "data as .csv or .jsonl where texts hold line ends";
    }
    if (num_fields_ > columns_.size()) return "a text must not hold tabs: replace them, or put it in quotes";
    if (num_fields_ == 1 && row.cells[0].text.find(',') != std::string::npos) {
      return "columns of a .tsv are separated by tabs; a file separated by commas must be named .csv";
    }
    return "every row needs a field for every column, separated by tabs";
  }

  // The last row has a field that opens a quote and leaves it open, or holds a tab.
  bool open_quote_or_tab_ = false;
};

}  // namespace

std::unique_ptr<RowReader> csv_rows(std::unique_ptr<ByteStream> stream, const std::filesystem::path& path) {
  return std::make_unique<CsvRows>(std::move(stream), path);
}

std::unique_ptr<RowReader> tsv_rows(std::unique_ptr<ByteStream> stream, const std::filesystem::path& path) {
  return std::make_unique<TsvRows>(std::move(stream), path);
}

}  // namespace graft::data
