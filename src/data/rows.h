// One seam over the row formats: csv, tsv, jsonl, json and txt give named columns and rows of cells.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "data/stream.h"

namespace graft::data {

// No file has more columns. With kMaxRowBytes it bounds what a row takes, whatever the bytes: about three
// times its text and 1 MiB.
inline constexpr size_t kMaxColumns = 16384;

// What a row has in one column. csv cells are `text`; json keeps the kind that was written.
struct Cell {
  enum class Kind : uint8_t { missing, null, text, integer, real, boolean, list, object };
  Kind kind = Kind::missing;
  // Of text its value, of an integer as written, of another number its shortest form, of a boolean "true" or
  // "false"; of a list or object its json.
  std::string text;
};

struct Row {
  int64_t line = 0;         // where it starts, 1-based
  std::vector<Cell> cells;  // parallel to RowReader::columns(), or shorter (the rest is missing)
};

class RowReader {
 public:
  virtual ~RowReader() = default;
  // The header of a csv; the keys seen so far in json (known from the first row on, may grow).
  virtual const std::vector<std::string>& columns() const = 0;
  // False at the end. Throws Error naming file, line and the fix on a row that does not parse.
  virtual bool next(Row& row) = 0;
  // Whether next() would probably answer without waiting for a pipe.
  virtual bool has_buffered_row() const = 0;
  // What separates the columns of a csv or tsv; 0 in other formats. Where there is one, cells carry no types
  // and "1" may be a number.
  virtual char separator() const { return 0; }
  bool untyped() const { return separator() != 0; }
  // True when rows are bare lines without named columns (txt).
  virtual bool is_text() const { return false; }
};

enum class Format : uint8_t { csv, tsv, jsonl, json, txt };

// By extension, below .gz, .zst or .xz; "-" is txt. Throws Error listing the known ones.
Format format_of(const std::filesystem::path& path);

std::unique_ptr<RowReader> open_rows(const std::filesystem::path& path);
// From an open stream; `path` is for messages.
std::unique_ptr<RowReader> open_rows(std::unique_ptr<ByteStream> stream, Format format,
                                     const std::filesystem::path& path);

// "a, b, c" for messages, cut after 12 names; each name as shown() shows it.
std::string join_names(const std::vector<std::string>& names);

}  // namespace graft::data
