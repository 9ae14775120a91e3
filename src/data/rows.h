// The common interface of the row formats csv, tsv, jsonl, json and txt: named columns and rows of cells.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/stream.h"

namespace graft::data {

// The maximum number of columns. Together with kMaxRowBytes it bounds the memory of a row to about three
// times its text plus 1 MiB.
inline constexpr size_t kMaxColumns = 16384;

// The value of one column. csv cells are `text`; json cells keep their kind.
struct Cell {
  enum class Kind : uint8_t { missing, null, text, integer, real, boolean, list, object };
  Kind kind = Kind::missing;
  // The value of a text; an integer as written; another number in its shortest form; "true" or "false"; the
  // json of a list or object.
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
  // Whether next() would probably return without waiting for a pipe.
  virtual bool has_buffered_row() const = 0;
  // The separator of a csv or tsv; 0 in other formats. With a separator cells have no types: "1" may be a
  // number.
  virtual char separator() const { return 0; }
  bool untyped() const { return separator() != 0; }
  // True when rows are bare lines without named columns (txt).
  virtual bool is_text() const { return false; }
};

enum class Format : uint8_t { csv, tsv, jsonl, json, txt };

// In lower case and with its dot, below .gz, .zst or .xz.
std::string extension_of_rows(const std::filesystem::path& path);

// By extension, below .gz, .zst or .xz; "-" is txt. nullopt for an unknown one.
std::optional<Format> known_format(const std::filesystem::path& path);
// The same. Throws Error listing the known ones.
Format format_of(const std::filesystem::path& path);

// "-": open_piped_rows.
std::unique_ptr<RowReader> open_rows(const std::filesystem::path& path);
// From an open stream; `path` is for messages.
std::unique_ptr<RowReader> open_rows(std::unique_ptr<ByteStream> stream, Format format,
                                     const std::filesystem::path& path);

// Rows without a file name that tells their format: json lines where the first line is a json object (the log
// says so), else a text a line. Waits for the first line.
std::unique_ptr<RowReader> open_piped_rows(std::unique_ptr<ByteStream> stream,
                                           const std::filesystem::path& path);

// "a, b, c" for messages, cut after 12 names; each name as shown() shows it.
std::string join_names(const std::vector<std::string>& names);

}  // namespace graft::data
