#include "data/rows.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/folder.h"
#include "base/json.h"
#include "base/json_check.h"
#include "base/log.h"
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

// A stream whose first line was looked at.
class ReadAhead final : public ByteStream {
 public:
  explicit ReadAhead(std::unique_ptr<ByteStream> stream) : stream_(std::move(stream)) {}

  // The first line, or its begin where it is long.
  std::string_view first_line() {
    constexpr size_t kMost = size_t{1} << 16;
    while (begin_.size() < kMost && begin_.find('\n') == begin_.npos) {
      const size_t had = begin_.size();
      begin_.resize(kMost);
      const size_t got = stream_->read(begin_.data() + had, kMost - had);
      begin_.resize(had + got);
      if (got == 0) break;
    }
    return std::string_view(begin_).substr(0, begin_.find('\n'));
  }

  size_t read(char* out, size_t size) override {
    if (used_ == begin_.size()) return stream_->read(out, size);
    const size_t n = std::min(size, begin_.size() - used_);
    std::memcpy(out, begin_.data() + used_, n);
    used_ += n;
    return n;
  }

 private:
  std::unique_ptr<ByteStream> stream_;
  std::string begin_;
  size_t used_ = 0;
};

// A long line is judged by its begin.
bool is_json_object(std::string_view line) {
  const size_t at = line.find_first_not_of(" \t\r");
  if (at == line.npos || line[at] != '{') return false;
  const size_t next = line.find_first_not_of(" \t\r", at + 1);
  if (next == line.npos || (line[next] != '"' && line[next] != '}')) return false;
  const size_t last = line.find_last_not_of(" \t\r");
  if (line[last] != '}') return line.size() > 60000;
  try {
    check_json(line);
    return true;
  } catch (const JsonParseError&) {
    return false;
  }
}

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

std::unique_ptr<RowReader> open_piped_rows(std::unique_ptr<ByteStream> stream, const fs::path& path) {
  auto ahead = std::make_unique<ReadAhead>(std::move(stream));
  const bool json = is_json_object(ahead->first_line());
  if (json) log_info("{}: the first line is a json object: rows are read, as of a .jsonl", name_of(path));
  return open_rows(std::move(ahead), json ? Format::jsonl : Format::txt, path);
}

std::unique_ptr<RowReader> open_rows(const fs::path& path) {
  const Format format = format_of(path);
  if (path == "-") return open_piped_rows(open_stream(path), path);
  if (format != Format::txt) return open_rows(open_stream(path), format, path);
  auto ahead = std::make_unique<ReadAhead>(open_stream(path));
  if (is_json_object(ahead->first_line()))
    log_warning(
        "{}: the first line is a json object and is read as a text, as the name says; rows are in a .jsonl",
        path.string());
  return open_rows(std::move(ahead), format, path);
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
