#include "data/rows.h"

#include <algorithm>

#include "base/error.h"
#include "base/folder.h"
#include "base/shown.h"
#include "data/csv.h"
#include "data/json_rows.h"

namespace graft::data {
namespace fs = std::filesystem;

namespace {

class TextRows final : public RowReader {
 public:
  TextRows(std::unique_ptr<ByteStream> stream, const fs::path& path) : lines_(std::move(stream), path) {}
  const std::vector<std::string>& columns() const override { return columns_; }
  bool is_text() const override { return true; }
  bool has_buffered_row() const override { return lines_.has_buffered_line(); }
  bool next(Row& row) override {
    row.cells.resize(1);
    row.cells[0].kind = Cell::Kind::text;
    if (!lines_.next(row.cells[0].text)) return false;
    row.line = lines_.line_number();
    return true;
  }

 private:
  LineReader lines_;
  std::vector<std::string> columns_{"text"};
};

std::string lower(std::string s) {
  for (char& c : s) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return s;
}

}  // namespace

std::string extension_of_rows(const fs::path& path) {
  fs::path name = path.filename();
  const std::string packed = lower(name.extension().string());
  if (packed == ".gz" || packed == ".zst" || packed == ".xz") name = name.stem();
  return lower(name.extension().string());
}

std::optional<Format> known_format(const fs::path& path) {
  const std::string extension = extension_of_rows(path);
  if (path == "-" || extension == ".txt") return Format::txt;
  if (extension == ".csv") return Format::csv;
  if (extension == ".tsv") return Format::tsv;
  if (extension == ".jsonl") return Format::jsonl;
  if (extension == ".json") return Format::json;
  return std::nullopt;
}

Format format_of(const fs::path& path) {
  if (const std::optional<Format> format = known_format(path)) return *format;
  if (is_folder(path)) fail("{}: is a folder, a file was expected", path.string());
  fail_with("the format follows the extension: .csv .tsv .jsonl .json .txt, each also .gz .zst .xz",
            "{}: unknown kind of file '{}'", path.string(), shown(extension_of_rows(path)));
}

std::unique_ptr<RowReader> open_rows(std::unique_ptr<ByteStream> stream, Format format,
                                     const fs::path& path) {
  switch (format) {
    case Format::csv:
      return csv_rows(std::move(stream), path);
    case Format::tsv:
      return tsv_rows(std::move(stream), path);
    case Format::jsonl:
      return jsonl_rows(std::move(stream), path);
    case Format::json:
      return json_rows(std::move(stream), path);
    case Format::txt:
      break;
  }
  return std::make_unique<TextRows>(std::move(stream), path);
}

std::unique_ptr<RowReader> open_rows(const fs::path& path) {
  const Format format = format_of(path);
  return open_rows(open_stream(path), format, path);
}

std::string join_names(const std::vector<std::string>& names) {
  constexpr size_t kShown = 12;
  std::string out;
  for (size_t i = 0; i < names.size() && i < kShown; ++i) {
    if (i > 0) out += ", ";
    out += shown(names[i]);
  }
  if (names.size() > kShown) out += fmt::format(", ... ({} in all)", names.size());
  return out;
}

}  // namespace graft::data
