#include "data/json_rows.h"

#include <algorithm>
#include <unordered_map>

#include "base/error.h"
#include "base/json.h"
#include "base/json_check.h"
#include "base/shown.h"
#include "data/json_values.h"

namespace graft::data {
namespace {

constexpr int kMaxDepth = 64;  // of brackets in a row

// Objects with text positions, into rows over a growing list of columns.
class JsonRows : public RowReader {
 public:
  JsonRows(const std::filesystem::path& path, bool one_a_line)
      : path_(path.string()), one_a_line_(one_a_line) {}
  const std::vector<std::string>& columns() const override { return columns_; }

  bool next(Row& row) override {
    if (held_) {
      row = std::move(first_);
      held_ = false;
      return true;
    }
    return read(row);
  }

 protected:
  // Reads the first row ahead so that columns() is known.
  void start() {
    held_ = read(first_);
    if (!held_) {
      fail_with(R"(write one object a row, for example: {"text": "...", "label": 0})",
                "{}: no rows in the file", path_);
    }
  }

  virtual bool read(Row& row) = 0;

  // `text` is one value that starts at (line, column) of the file.
  void parse(std::string_view text, int64_t line, size_t column, Row& row) {
    if (text.size() > kMaxRowBytes) fail("{}: line {}: a row over {} MiB", path_, line, kMaxRowBytes >> 20);
    if (bracket_depth(text) > kMaxDepth)
      fail("{}: line {}: brackets nested over {} deep", path_, line, kMaxDepth);
    try {
      check_json(text);
    } catch (const JsonParseError& e) {
      fail_parse(text, e, line, column);
    }
    text = skip_space(text);
    if (!text.starts_with('{')) fail_no_object(text, line);
    row.line = line;
    row.cells.assign(columns_.size(), Cell{});
    JsonValues values(text);
    for (std::string_view key, value; values.next(key) && values.next(value);) {
      const size_t column_index = index_of(Json::parse(key).text(), line);
      if (row.cells.size() <= column_index) row.cells.resize(column_index + 1);
      Cell& cell = row.cells[column_index];
      if (cell.kind != Cell::Kind::missing) {
        fail_with("give every column its own name", "{}: line {}: the row has the key '{}' twice", path_,
                  line, shown(columns_[column_index]));
      }
      cell = to_cell(value);
    }
  }

  size_t index_of(const std::string& key, int64_t line) {
    const auto [at, is_new] = index_.emplace(key, columns_.size());
    if (!is_new) return at->second;
    if (columns_.size() == kMaxColumns) {
      fail_with(R"(write the same keys in every row, for example: {"text": "...", "label": 0})",
                "{}: line {}: more than {} different keys", path_, line, kMaxColumns);
    }
    columns_.push_back(key);
    return at->second;
  }

  [[noreturn]] void fail_no_object(std::string_view text, int64_t line) const {
    std::string hint = R"(each row must be an object, for example: {"text": "...", "label": 0})";
    if (text.starts_with('[') && one_a_line_) hint += "; one array of all rows must be named .json";
    fail_with(hint, "{}: line {}: a row is {} instead of an object", path_, line, kind_of(text));
  }

  [[noreturn]] void fail_parse(std::string_view text, const JsonParseError& e, int64_t line,
                               size_t column) const {
    const bool too_large = e.reason == JsonParseError::Reason::number_too_large;
    const size_t byte = too_large ? text.size() : e.at;
    const std::string_view head = text.substr(0, byte);
    const size_t newline = head.rfind('\n');
    line += std::count(head.begin(), head.end(), '\n');
    column = newline == std::string_view::npos ? column + byte : byte - newline;
    fail_with(parse_hint(text, e), "{}: line {}, column {}: not valid JSON{}", path_, line, column,
              byte >= text.size() ? " (it ends too early)" : "");
  }

  std::string path_;
  bool one_a_line_;

 private:
  std::vector<std::string> columns_;
  std::unordered_map<std::string, size_t> index_;
  Row first_;
  bool held_ = false;
};

class JsonlRows final : public JsonRows {
 public:
  bool has_buffered_row() const override { return lines_.has_buffered_line(); }

  JsonlRows(std::unique_ptr<ByteStream> stream, const std::filesystem::path& path)
      : JsonRows(path, true), lines_(std::move(stream), path) {
    start();
  }

 private:
  bool read(Row& row) override {
    do {
      if (!lines_.next(line_)) return false;
    } while (line_.find_first_not_of(" \t\r") == std::string::npos);
    parse(line_, lines_.line_number(), 1, row);
    return true;
  }

  LineReader lines_;
  std::string line_;
};

// Cuts the elements out of the outer array by counting brackets outside strings; each is then parsed by
// itself.
class JsonArrayRows final : public JsonRows {
 public:
  bool has_buffered_row() const override { return pos_ < line_.size() || lines_.has_buffered_line(); }

  JsonArrayRows(std::unique_ptr<ByteStream> stream, const std::filesystem::path& path)
      : JsonRows(path, false), lines_(std::move(stream), path, false) {
    enter();
    start();
  }

 private:
  // The next character that is not white space; 0 at the end. pos_ is on it.
  char peek() {
    while (!ended_) {
      while (pos_ < line_.size()) {
        const char c = line_[pos_];
        if (c != ' ' && c != '\t' && c != '\r' && c != '\n') return c;
        ++pos_;
      }
      advance_line();
    }
    return 0;
  }

  void advance_line() {
    ended_ = !lines_.next(line_);
    if (ended_) line_.clear();
    pos_ = 0;
  }

  // Finds the array of rows.
  void enter() {
    if (peek() == '[') {
      ++pos_;
    } else if (peek() == '{') {
      enter_object();
    } else if (ended_) {
      fail_with(R"(write an array of objects, for example: [{"text": "...", "label": 0}])",
                "{}: the file is empty", path_);
    } else {
      fail_structure("an array of objects, or an object with \"data\"");
    }
  }

  // An object at the top: {"data": [...]}, or the first of JSON lines.
  void enter_object() {
    const size_t start_pos = pos_;
    const int64_t start_line = lines_.line_number();
    ++pos_;
    std::string body = "{", keys;
    bool all_nested = true;
    for (bool first = true; peek() != '}'; first = false) {
      if (!first) body += expect(',');
      const std::string key = take_value();
      body += key;
      body += expect(':');
      if (key == "\"data\"" && peek() == '[') {
        ++pos_;
        in_object_ = true;
        return;
      }
      all_nested = all_nested && (peek() == '[' || peek() == '{');
      keys += (keys.empty() ? "" : ", ") + key;
      body += take_value();
      if (body.size() > kMaxRowBytes)
        fail("{}: line {}: a value over {} MiB", path_, start_line, kMaxRowBytes >> 20);
    }
    body += expect('}');
    if (all_nested && !keys.empty() && peek() == 0) {
      fail_with(
          R"(write an array of rows, for example: [{"text": "...", "label": 0}] (pandas: orient="records"))",
          "{}: the file is one object whose members are lists or objects ({}), not an array of rows", path_,
          shown(keys));
    }
    lines_mode_ = true;
    body_ = std::move(body);
    body_line_ = start_line;
    body_column_ = start_pos + 1;
  }

  char expect(char wanted) {
    if (peek() != wanted) fail_structure(fmt::format("'{}'", wanted));
    ++pos_;
    return wanted;
  }

  bool read(Row& row) override {
    if (lines_mode_) return read_line_object(row);
    if (done_) return false;
    if (peek() == ']') {
      finish();
      return false;
    }
    if (any_ && peek() != ',') fail_structure("',' or ']' after a row");
    if (any_) ++pos_;
    peek();
    const int64_t line = lines_.line_number();
    const size_t column = pos_ + 1;
    parse(take_value(), line, column, row);
    any_ = true;
    return true;
  }

  bool read_line_object(Row& row) {
    if (!body_.empty()) {
      parse(body_, body_line_, body_column_, row);
      body_.clear();
      return true;
    }
    if (peek() == 0) return false;
    if (peek() != '{') fail_structure("one object after the other");
    const int64_t line = lines_.line_number();
    const size_t column = pos_ + 1;
    parse(take_value(), line, column, row);
    return true;
  }

  // After the array: nothing may follow but the rest of the object that holds it.
  void finish() {
    done_ = true;
    ++pos_;
    while (in_object_ && peek() != '}') {
      expect(',');
      const bool again = take_value() == "\"data\"";
      expect(':');
      if (again && peek() == '[')
        fail_with("put all rows into one array", "{}: line {}: a second \"data\"", path_,
                  lines_.line_number());
      take_value();
    }
    if (in_object_) ++pos_;
    if (peek() != 0) fail_structure("the end of the file");
  }

  // The text of the value at the cursor, strings and nested brackets included.
  std::string take_value() {
    std::string out;
    peek();
    const int64_t line = lines_.line_number();
    int64_t depth = 0;
    bool in_string = false;
    for (;;) {
      while (pos_ == line_.size() && !ended_) {
        if (!out.empty()) out += '\n';
        advance_line();
      }
      if (ended_) fail("{}: line {}: the file ends inside a value that starts here", path_, line);
      const size_t begin = pos_;
      const bool closed = scan_value(depth, in_string);
      out.append(line_, begin, pos_ - begin);
      if (out.size() > kMaxRowBytes)
        fail("{}: line {}: a value over {} MiB", path_, line, kMaxRowBytes >> 20);
      if (closed) return check_value(std::move(out));
    }
  }

  // Moves the cursor to the end of the value, or of the line; true at the end of the value.
  bool scan_value(int64_t& depth, bool& in_string) {
    for (; pos_ < line_.size(); ++pos_) {
      const char c = line_[pos_];
      if (in_string) {
        if (c == '\\' && pos_ + 1 < line_.size()) ++pos_;
        in_string = c != '"';
        if (in_string || depth > 0) continue;
        return ++pos_, true;
      }
      if (c == '"') {
        in_string = true;
      } else if (c == '{' || c == '[') {
        ++depth;
      } else if (c == '}' || c == ']') {
        if (depth == 0) return true;
        if (--depth == 0) return ++pos_, true;
      } else if (depth == 0 && (c == ',' || c == ':')) {
        return true;
      }
    }
    return false;
  }

  std::string check_value(std::string value) const {
    if (value.empty()) fail_structure("a value");
    return value;
  }

  [[noreturn]] void fail_structure(const std::string& expected) const {
    if (ended_) fail("{}: the file ends too early: expected {}", path_, expected);
    fail("{}: line {}, column {}: not valid JSON rows: expected {}", path_, lines_.line_number(), pos_ + 1,
         expected);
  }

  LineReader lines_;
  std::string line_;
  size_t pos_ = 0;
  bool ended_ = false, any_ = false, done_ = false, in_object_ = false, lines_mode_ = false;
  std::string body_;  // the first object in lines mode
  int64_t body_line_ = 0;
  size_t body_column_ = 0;
};

}  // namespace

std::unique_ptr<RowReader> jsonl_rows(std::unique_ptr<ByteStream> stream, const std::filesystem::path& path) {
  return std::make_unique<JsonlRows>(std::move(stream), path);
}

std::unique_ptr<RowReader> json_rows(std::unique_ptr<ByteStream> stream, const std::filesystem::path& path) {
  return std::make_unique<JsonArrayRows>(std::move(stream), path);
}

}  // namespace graft::data
